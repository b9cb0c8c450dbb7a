//! A server of Kubernetes' API on a port of this machine, for clients that are real: the `kube` crate, `kubectl`, `helm`.
//!
//! It holds objects, tells watches of their changes, checks them as a cluster does, takes definitions of new resources, and
//! goes wrong as a test wishes. There is nobody behind it: no scheduler, no controllers, no kubelet. So what an object owns
//! stays when that goes, a pod that is deleted is gone at once, and tests put what those would report ([`pods`]). It doesn't
//! evaluate rules in CEL, fills in no defaults of Kubernetes' own kinds, and keeps everything in memory.

mod access;
mod admission;
mod answer;
mod definition;
mod discovery;
mod door;
mod faults;
mod identity;
mod objects;
mod ownership;
mod patch;
pub mod pods;
mod protobuf;
mod reading;
mod record;
mod request;
mod resource;
mod schema;
mod selector;
mod status;
mod store;
mod table;
mod watching;

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};

use self::{
    access::Access, faults::Faults, identity::Identity, record::Record, resource::Id, store::Key,
    store::Store,
};
pub use self::{
    faults::{Fault, On},
    record::Call,
    request::Asked,
};
use crate::wait;

/// A server. Its port and its state stay the same while it is away.
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    identity: Option<Identity>,
    folder: TempDir,
    /// A runtime of its own for each time it is there: dropped, it takes every connection with it.
    open: Mutex<Option<Runtime>>,
}

/// What the connections share.
#[derive(Debug)]
struct Shared {
    store: Store,
    access: Access,
    faults: Faults,
    record: Record,
    /// Changed, every watch that wants bookmarks gets one.
    bookmark: watch::Sender<u64>,
    /// Changed, every watch is told that its history is gone.
    expire: watch::Sender<u64>,
    /// Changed, every connection is reset.
    cut: watch::Sender<u64>,
    /// While it is true, watches tell nothing.
    hang: watch::Sender<bool>,
}

/// The token of whoever may do everything.
const ADMIN: &str = "admin-token";

// === impl ApiServer ===

impl ApiServer {
    /// Starts a server with TLS on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), true)
    }

    /// Starts a server without TLS.
    pub fn plain() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), false)
    }

    /// Starts a server at this address.
    pub fn at(address: SocketAddr, tls: bool) -> Self {
        let shared = Shared {
            store: Store::new(resource::built_in()),
            access: Access::default(),
            faults: Faults::default(),
            record: Record::default(),
            bookmark: watch::Sender::default(),
            expire: watch::Sender::default(),
            cut: watch::Sender::default(),
            hang: watch::Sender::default(),
        };
        shared.access.admit(ADMIN, "admin");
        let mut server = Self {
            address,
            shared: Arc::new(shared),
            identity: tls.then(Identity::new),
            folder: tempfile::Builder::new().prefix("trigon-apiserver-").tempdir().expect("make a folder"),
            open: Mutex::default(),
        };
        for name in ["default", "kube-system"] {
            server.put(pods::namespace(name, &json!({})));
        }
        server.address = server.open();
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as clients write it.
    pub fn url(&self) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    // --- clients ---

    /// Writes a kubeconfig for whoever may do everything, and returns where.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig_with("admin", &json!({"token": ADMIN}))
    }

    /// Writes a kubeconfig that has this token.
    pub fn kubeconfig_of(&self, token: &str) -> PathBuf {
        self.kubeconfig_with(token, &json!({"token": token}))
    }

    /// Writes a kubeconfig that says to read the token from this file.
    pub fn kubeconfig_by(&self, token_file: &Path) -> PathBuf {
        self.kubeconfig_with("by-file", &json!({"tokenFile": token_file}))
    }

    /// Writes the files that a pod finds in `/var/run/secrets/kubernetes.io/serviceaccount` into a folder, and returns the
    /// environment that goes with them.
    pub fn service_account(&self, folder: &Path, token: &str) -> Vec<(&'static str, String)> {
        identity::service_account(folder, token, self.authority(), self.address)
    }

    /// Takes a token from now on, of somebody who may do everything until [`Self::limit`].
    pub fn admit(&self, token: &str, name: &str) {
        self.shared.access.admit(token, name);
    }

    /// Takes a token no more: 401. Watches that are open stay open.
    pub fn revoke(&self, token: &str) {
        self.shared.access.revoke(token);
    }

    /// Whoever has this token may do what these Roles and ClusterRoles say, and nothing else.
    pub fn limit(&self, token: &str, roles: &[Value]) {
        self.shared.access.limit(token, roles);
    }

    // --- objects ---

    /// Puts an object, status and all, whether it is there or not. Returns it as it is then.
    ///
    /// # Panics
    /// It is of no resource that is served, or isn't what that resource looks like.
    pub fn put(&self, object: Value) -> Value {
        objects::put(&self.shared.store, object)
    }

    /// Removes an object, whatever finalizers it has.
    ///
    /// # Panics
    /// It isn't there.
    pub fn delete(&self, object: &Value) {
        let (resource, _) = objects::of_object(&self.shared.store, object);
        let mut key = Key::of(object);
        if resource.namespaced && key.namespace.is_empty() {
            key.namespace = "default".into();
        }
        let last = self.shared.store.edit(&resource.id, &key, false, |_| Ok(None));
        let last = last.unwrap_or_else(|status| panic!("{}", status.message));
        objects::gone(&self.shared.store, &resource.id, &last);
    }

    /// An object; the namespace is empty for what has none.
    pub fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = Key { namespace: namespace.into(), name: name.into() };
        self.shared.store.get(&Id::new(group, plural), &key).map(|object| (*object).clone())
    }

    /// Waits until an object satisfies `probe`.
    pub fn until<T>(
        &self,
        (group, plural, namespace, name): (&str, &str, &str, &str),
        mut probe: impl FnMut(&Value) -> Option<T>,
    ) -> T {
        let get = || self.get(group, plural, namespace, name);
        let what = format!("what is to become of {plural} {namespace}/{name}");
        wait::until(&what, || get().and_then(|object| probe(&object)), || format!("{:?}", get()))
    }

    /// The revision of the last change.
    pub fn revision(&self) -> u64 {
        self.shared.store.revision()
    }

    // --- what goes wrong ---

    /// From now on this goes wrong with those requests.
    pub fn fault(&self, on: On, fault: Fault) {
        self.shared.faults.add(on, fault);
    }

    /// Nothing goes wrong any more, and watches that hung go on.
    pub fn heal(&self) {
        self.shared.faults.clear();
        self.shared.hang.send_replace(false);
    }

    /// Forgets all history: a watch from before, or the next page of a list from before, is told 410.
    pub fn compact(&self) {
        self.shared.store.compact();
    }

    /// Tells every open watch 410, in its stream.
    pub fn expire_watches(&self) {
        self.shared.expire.send_modify(|times| *times += 1);
    }

    /// Lets open watches and new ones tell nothing, until [`Self::heal`].
    pub fn hang_watches(&self) {
        self.shared.hang.send_replace(true);
    }

    /// Gives every watch that wants bookmarks one. They come by themselves, too: once a minute.
    pub fn bookmark(&self) {
        self.shared.bookmark.send_modify(|times| *times += 1);
    }

    /// Resets every connection.
    pub fn reset_connections(&self) {
        self.shared.cut.send_modify(|times| *times += 1);
    }

    /// Closes the port and every connection.
    pub fn leave(&self) {
        if let Some(runtime) = self.open.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // On a thread of its own: whoever calls this may be on another runtime, which doesn't let it wait.
            let end = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10)));
            end.join().expect("the runtime ends");
        }
    }

    /// Listens again on the same port, and has what it had.
    pub fn come_back(&self) {
        self.open();
    }

    // --- the record ---

    /// Every request until now.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.record.calls()
    }

    /// Forgets them.
    pub fn forget_calls(&self) {
        self.shared.record.forget();
    }

    /// Watches that are open now.
    pub fn open_watches(&self) -> usize {
        self.shared.record.watches()
    }

    /// Waits until so many watches are open.
    pub fn until_watches(&self, count: usize) {
        let enough = || (self.open_watches() == count).then_some(());
        wait::until(&format!("{count} open watches"), enough, || self.open_watches().to_string());
    }

    /// The requests that changed objects, or tried to, in the second that had most of them.
    pub fn most_writes_per_second(&self) -> usize {
        let times: Vec<_> = self.calls().iter().filter(|call| call.is_write()).map(|call| call.at).collect();
        let within = |at: usize| {
            let end = times[at] + Duration::from_secs(1);
            times[at..].iter().take_while(|time| **time < end).count()
        };
        (0..times.len()).map(within).max().unwrap_or_default()
    }

    fn authority(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.authority.as_str())
    }

    fn kubeconfig_with(&self, name: &str, user: &Value) -> PathBuf {
        let config = identity::kubeconfig(&self.url(), self.authority(), user);
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        fs::write(&path, config.to_string()).expect("write a kubeconfig");
        path
    }

    /// Listens, and says where.
    fn open(&self) -> SocketAddr {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().expect("make a runtime");
        let within = runtime.enter();
        let listener =
            door::listen(self.address).unwrap_or_else(|error| panic!("listen on {}: {error}", self.address));
        drop(within);
        let address = listener.local_addr().expect("read the address of a listener");
        let tls = self.identity.as_ref().map(|identity| identity.acceptor.clone());
        runtime.spawn(door::serve(listener, Arc::clone(&self.shared), tls));
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(runtime);
        address
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.leave();
    }
}
