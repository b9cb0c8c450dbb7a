//! The `kube` crate's watcher: what it makes of a server that is well, and of one that isn't.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use trigon_tests::{
    apiserver::{
        ApiServer, Fault, On,
        pods::{self, State},
    },
    kmock::Kmock,
    wait,
};

use crate::client::{block_on, client};

/// A server that keeps objects.
pub enum Server {
    Ours(ApiServer),
    Kmock(Kmock),
}

/// What a watcher told, errors too: each by a letter (`+` it is there, `-` it is gone, `!` an error, `[` and `]` around a new
/// list) and the name or the error.
type Told = Vec<(char, String)>;

// === impl Server ===

impl Server {
    pub fn ours() -> Self {
        Self::Ours(ApiServer::start())
    }

    pub fn plain() -> Self {
        Self::Ours(ApiServer::plain())
    }

    pub fn kmock() -> Self {
        Self::Kmock(Kmock::start())
    }

    async fn client(&self) -> Client {
        match self {
            Self::Ours(server) => client(&server.kubeconfig()).await,
            Self::Kmock(server) => {
                Client::try_from(Config::new(server.url().parse().expect("a URL"))).expect("a client")
            }
        }
    }

    /// kmock gives its objects no revisions.
    fn map(&self, name: &str) -> ConfigMap {
        let mut map = json!({"metadata": {"name": name, "namespace": "default"}});
        if matches!(self, Self::Kmock(_)) {
            map["metadata"]["resourceVersion"] = "1".into();
        }
        serde_json::from_value(map).expect("a map")
    }
}

fn letter(event: Result<Event<impl kube::ResourceExt>, watcher::Error>) -> (char, String) {
    match event {
        Ok(Event::Init) => ('[', String::new()),
        Ok(Event::InitDone) => (']', String::new()),
        Ok(Event::InitApply(object) | Event::Apply(object)) => ('+', object.name_any()),
        Ok(Event::Delete(object)) => ('-', object.name_any()),
        Err(error) => ('!', error.to_string()),
    }
}

/// Reads on until `enough`.
async fn until<K: kube::ResourceExt>(
    stream: &mut (impl Stream<Item = Result<Event<K>, watcher::Error>> + Unpin),
    mut enough: impl FnMut(&Told) -> bool,
) -> Told {
    let mut told = Told::new();
    while !enough(&told) {
        let next = tokio::time::timeout(wait::LIMIT, stream.next()).await;
        let event = next.unwrap_or_else(|_| panic!("waited in vain after {told:?}")).expect("it never ends");
        let told_now = letter(event);
        // A client that is refused shall not ask again at once.
        if told_now.0 == '!' {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        told.push(told_now);
    }
    told
}

fn has(letter: char, name: &str) -> impl Fn(&Told) -> bool {
    let wanted = (letter, name.to_owned());
    move |told| told.contains(&wanted)
}

fn names(told: &Told, letter: char) -> Vec<&str> {
    told.iter().filter(|(kind, _)| *kind == letter).map(|(_, name)| name.as_str()).collect()
}

fn pod(name: &str, node: &str) -> Value {
    pods::Pod::scheduled("default", name, node, &["main"]).object()
}

/// Creates, watches, deletes. It works for any server that is one.
pub fn follows(server: &Server) {
    block_on(async {
        let client = server.client().await;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
        let post = PostParams::default();
        maps.create(&post, &server.map("before")).await.expect("create");
        let mut stream = pin!(watcher(Api::<ConfigMap>::all(client), watcher::Config::default()));
        let told = until(&mut stream, has(']', "")).await;
        assert_eq!(names(&told, '+'), ["before"]);
        maps.create(&post, &server.map("after")).await.expect("create");
        let told = until(&mut stream, has('+', "after")).await;
        assert_eq!(names(&told, '!'), [""; 0]);
        maps.delete("before", &DeleteParams::default()).await.expect("delete");
        until(&mut stream, has('-', "before")).await;
        let list = maps.list(&kube::api::ListParams::default()).await.expect("list");
        let left: Vec<_> = list.items.iter().map(kube::ResourceExt::name_any).collect();
        assert_eq!(left, ["after"]);
    });
}

pub fn reads_pages() {
    let server = ApiServer::start();
    for at in 0..25 {
        server.put(pod(&format!("pod-{at:02}"), "n"));
    }
    block_on(async {
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig()).await);
        let mut stream = pin!(watcher(pods.clone(), watcher::Config::default().page_size(10)));
        let told = until(&mut stream, has(']', "")).await;
        let distinct: BTreeSet<_> = names(&told, '+').into_iter().collect();
        assert_eq!((names(&told, '+').len(), distinct.len()), (25, 25));
        let lists = server.calls().iter().filter(|call| call.asked.verb == "list").count();
        assert_eq!(lists, 3);

        // All pages are of one revision; a page of a revision that is forgotten is refused.
        let list = |token: Option<String>| {
            let mut params = kube::api::ListParams::default().limit(10);
            params.continue_token = token;
            let pods = pods.clone();
            async move { pods.list(&params).await }
        };
        let first = list(None).await.expect("a page");
        assert_eq!(first.metadata.remaining_item_count, Some(15));
        server.put(pod("pod-10-new", "n"));
        server.delete(&pod("pod-11", "n"));
        let second = list(first.metadata.continue_.clone()).await.expect("the next page");
        let second: Vec<_> = second.items.iter().map(kube::ResourceExt::name_any).collect();
        assert_eq!((second[0].as_str(), second[1].as_str()), ("pod-10", "pod-11"));
        server.compact();
        match list(first.metadata.continue_).await {
            Err(kube::Error::Api(status)) => assert_eq!((status.code, &*status.reason), (410, "Expired")),
            other => panic!("{other:?}"),
        }
    });
}

pub fn takes_a_streamed_list() {
    let server = ApiServer::start();
    server.put(pod("one", "n"));
    server.put(pod("two", "n"));
    block_on(async {
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig()).await);
        let mut stream = pin!(watcher(pods, watcher::Config::default().streaming_lists()));
        let told = until(&mut stream, has(']', "")).await;
        assert_eq!(names(&told, '+'), ["one", "two"]);
        server.put(pod("three", "n"));
        until(&mut stream, has('+', "three")).await;
        assert!(server.calls().iter().all(|call| call.asked.verb == "watch"));
    });
}

pub fn sees_what_it_selects() {
    let server = ApiServer::start();
    server.put(pod("here", "n1"));
    server.put(pod("there", "n2"));
    block_on(async {
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig()).await);
        let config = watcher::Config::default().fields("spec.nodeName=n1").labels("app!=ignored");
        let mut stream = pin!(watcher(pods, config));
        let told = until(&mut stream, has(']', "")).await;
        assert_eq!(names(&told, '+'), ["here"]);
        server.put(pod("not-here", "n2"));
        server.put(pod("new", "n1"));
        let told = until(&mut stream, has('+', "new")).await;
        assert_eq!(names(&told, '+'), ["new"]);
        // A pod that is no longer selected is gone for this watch, and a pod that now is is new.
        let id = "ab".repeat(32);
        let running =
            pods::Pod::scheduled("default", "new", "n1", &["main"]).container("main", &id, State::Running);
        let stored = server.put(running.object());
        assert_eq!(stored["status"]["containerStatuses"][0]["containerID"], format!("containerd://{id}"));
        server.put(running.clone().label("app", "ignored").object());
        let told = until(&mut stream, has('-', "new")).await;
        assert_eq!(told, [('+', "new".to_owned()), ('-', "new".to_owned())]);
        server.put(running.terminating().object());
        until(&mut stream, has('+', "new")).await;
        server.delete(&pod("new", "n1"));
        until(&mut stream, has('-', "new")).await;
    });
}

pub fn goes_on_from_a_bookmark() {
    let server = ApiServer::start();
    server.put(pod("one", "n"));
    block_on(async {
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig()).await);
        let mut stream = pin!(watcher(pods, watcher::Config::default().fields("spec.nodeName=n").timeout(1)));
        until(&mut stream, has(']', "")).await;
        // What others do doesn't reach this watch, but for a bookmark: so it goes on though all that is forgotten. The
        // watch ends after a second, with a bookmark.
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let busy = async {
            for at in 0..5 {
                server.put(pod(&format!("other-{at}"), "m"));
            }
            server.bookmark();
            let watches = || server.calls().iter().filter(|call| call.asked.verb == "watch").count();
            while watches() < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            server.compact();
            let before = watches();
            while watches() < before + 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            server.put(pod("two", "n"));
            let _ = stop.send(());
        };
        let watching = async {
            let told = until(&mut stream, has('+', "two")).await;
            let _ = stopped.await;
            told
        };
        let (told, ()) = tokio::join!(watching, busy);
        assert_eq!(told, [('+', "two".to_owned())]);
        let lists = server.calls().iter().filter(|call| call.asked.verb == "list").count();
        assert_eq!(lists, 1);
    });
}

pub fn survives_gone() {
    let server = ApiServer::start();
    server.put(pod("one", "n"));
    block_on(async {
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig()).await);
        let mut stream = pin!(watcher(pods, watcher::Config::default()));
        until(&mut stream, has(']', "")).await;
        // In the stream.
        let (told, ()) = tokio::join!(until(&mut stream, has(']', "")), async {
            while server.open_watches() == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            server.expire_watches();
        });
        assert_eq!((names(&told, '!').len(), names(&told, '+')), (1, vec!["one"]));
        // As the answer to a watch that begins: first as the watch's only line, then as its status.
        server.put(pod("two", "n"));
        until(&mut stream, has('+', "two")).await;
        server.leave();
        server.put(pod("three", "n"));
        server.delete(&pod("one", "n"));
        server.compact();
        server.come_back();
        let told = until(&mut stream, has(']', "")).await;
        assert!(names(&told, '!').iter().any(|error| error.contains("too old resource version")), "{told:?}");
        assert_eq!(names(&told, '+'), ["three", "two"]);
        server.fault(On::ALL.verb("watch").times(2), Fault::Gone);
        server.reset_connections();
        let (told, ()) = tokio::join!(until(&mut stream, has('+', "four")), async {
            while server.calls().iter().filter(|call| call.code == 410).count() < 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            server.put(pod("four", "n"));
        });
        assert!(names(&told, '!').iter().any(|error| error.contains("on purpose")), "{told:?}");
    });
}

pub fn survives_faults() {
    let server = ApiServer::start();
    server.put(pod("pod-0", "n"));
    block_on(async {
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig()).await);
        for (fault, code) in [(Fault::TooMany(1), 429), (Fault::Broken, 500), (Fault::Reset, 0)] {
            server.forget_calls();
            server.fault(On::ALL.verb("list").resource("pods").times(2), fault);
            let mut stream = pin!(watcher(pods.clone(), watcher::Config::default()));
            // The client itself asks again after some of them, and tells nobody.
            until(&mut stream, has(']', "")).await;
            let codes: Vec<_> = server.calls().iter().map(|call| call.code).collect();
            assert_eq!(codes[..3], [code, code, 200], "{fault:?}");
        }
        server.fault(On::ALL.verb("list").times(1), Fault::Slow(Duration::from_millis(300)));
        let mut stream = pin!(watcher(pods, watcher::Config::default()));
        until(&mut stream, has(']', "")).await;
        // A watch that is cut is taken up where it was.
        for at in 1..5 {
            let name = format!("pod-{at}");
            let (told, ()) = tokio::join!(until(&mut stream, has('+', &name)), async {
                while server.open_watches() == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let watches = || server.calls().iter().filter(|call| call.asked.verb == "watch").count();
                let before = watches();
                server.reset_connections();
                while watches() == before {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                server.put(pod(&name, "n"));
            });
            assert_eq!(names(&told, '+'), [name.as_str()]);
            assert_eq!(names(&told, '['), [""; 0]);
        }
        // One that hangs says nothing, and then all.
        server.hang_watches();
        server.put(pod("late", "n"));
        let nothing = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
        assert!(nothing.is_err(), "{nothing:?}");
        server.heal();
        until(&mut stream, has('+', "late")).await;
    });
    server.until_watches(0);
}

pub fn survives_an_absence() {
    let server = ApiServer::start();
    server.put(pod("one", "n"));
    block_on(async {
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig()).await);
        let mut stream = pin!(watcher(pods, watcher::Config::default()));
        until(&mut stream, has(']', "")).await;
        server.leave();
        let told = until(&mut stream, |told| names(told, '!').len() > 2).await;
        assert_eq!(names(&told, '['), [""; 0]);
        server.put(pod("two", "n"));
        server.come_back();
        let told = until(&mut stream, has('+', "two")).await;
        assert_eq!((names(&told, '+'), names(&told, '[')), (vec!["two"], vec![]));
    });
}

pub fn takes_a_new_token() {
    let server = ApiServer::start();
    server.put(pod("one", "n"));
    let folder = tempfile::tempdir().expect("make a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "first").expect("write the token");
    server.admit("first", "agent");
    block_on(async {
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig_by(&file)).await);
        let mut stream = pin!(watcher(pods, watcher::Config::default()));
        until(&mut stream, has(']', "")).await;
        server.revoke("first");
        server.admit("second", "agent");
        server.reset_connections();
        let refused = |told: &Told| names(told, '!').iter().any(|error| error.contains("Unauthorized"));
        until(&mut stream, refused).await;
        std::fs::write(&file, "second").expect("write the token");
        server.put(pod("two", "n"));
        // The client reads the file once a minute: here it begins anew, as an agent does that is restarted.
        let pods: Api<Pod> = Api::all(client(&server.kubeconfig_by(&file)).await);
        let mut stream = pin!(watcher(pods, watcher::Config::default()));
        let told = until(&mut stream, has(']', "")).await;
        assert_eq!(names(&told, '+'), ["one", "two"]);
        let users: BTreeSet<_> =
            server.calls().into_iter().map(|call| (call.code == 401, call.user)).collect();
        assert_eq!(users.into_iter().collect::<Vec<_>>(), [(false, "agent".into()), (true, String::new())]);
    });
}
