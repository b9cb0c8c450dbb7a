//! Resources of pods, read by the message types of opentelemetry-proto.

use std::{collections::BTreeMap, sync::Arc};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;

use super::{
    encoding::{ONE_BATCH, attributes, decoded, logs, sealed, table},
    sample,
};
use crate::{
    event::{Place, Pod, Process, Service, Workload},
    node::Node,
    otlp::{Signal, batch::Batcher, config::BatchConfig, declared::Declared},
    samples,
};

fn resource(request: &ExportLogsServiceRequest, index: usize) -> BTreeMap<&str, String> {
    attributes(&request.resource_logs[index].resource.as_ref().expect("a resource").attributes)
}

fn own(resource: BTreeMap<&str, String>) -> BTreeMap<&str, String> {
    let is_own = |key: &str| ["service.", "k8s.", "container."].iter().any(|start| key.starts_with(start));
    resource.into_iter().filter(|(key, _)| is_own(key)).collect()
}

#[test]
fn a_pods_container_is_a_resource() {
    let inside = |place| sample::exec(samples::placed(sample::process(1), place));
    let (whole, sandbox) = (samples::place(), Place { container: None, ..samples::place() });
    let request = logs(&[inside(whole.clone()), inside(sandbox), inside(whole)]);
    let id = "0123456789abcdef".repeat(4);
    let digest = format!("docker.io/library/nginx@sha256:{}", "ab".repeat(32));
    let mut expected = table(&[
        ("service.name", "web"),
        ("service.namespace", "shop"),
        ("service.instance.id", "shop.web-7d4b9c-x2x4z"),
        ("k8s.namespace.name", "shop"),
        ("k8s.pod.name", "web-7d4b9c-x2x4z"),
        ("k8s.pod.uid", "8c9f5b0e-3f0a-4d0e-9a53-0f1f2c7f7a11"),
        ("k8s.pod.start_time", "2026-08-17T11:59:00.000000000Z"),
        ("k8s.deployment.name", "web"),
        ("k8s.pod.label.app", "web"),
        ("k8s.pod.label.app.kubernetes.io/version", "3.1"),
        ("k8s.pod.annotation.example.com/owner", "team a"),
    ]);
    assert_eq!(request.resource_logs.len(), 2, "places that are equal are one, wherever they are in memory");
    assert_eq!(own(resource(&request, 1)), expected);
    expected.extend(table(&[
        ("service.instance.id", "shop.web-7d4b9c-x2x4z.nginx"),
        ("service.version", "1.27"),
        ("k8s.container.name", "nginx"),
        ("k8s.container.restart_count", "2"),
        ("container.id", &id),
        ("container.name", "nginx"),
        ("container.runtime.name", "containerd"),
        ("container.image.name", "docker.io/library/nginx"),
        ("container.image.tags", "[\"1.27\"]"),
        ("container.image.id", &digest),
        ("container.image.repo_digests", &format!("[{digest:?}]")),
    ]));
    assert_eq!(own(resource(&request, 0)), expected);
    assert_eq!(request.resource_logs[0].scope_logs[0].log_records.len(), 2);
}

#[test]
fn a_place_that_comes_to_be_known_makes_a_resource_of_its_own() {
    let process = Process { cgroup: sample::cgroup(Some(sample::container("abc"))), ..sample::process(1) };
    let mut batcher = Batcher::new(Signal::Logs, Arc::new(sample::node()), ONE_BATCH);
    let labelled = Pod { labels: samples::pairs(&[("a", "b")]), ..samples::pod() };
    let changed = Place { pod: Arc::new(labelled), container: None };
    let sandbox = Place { container: None, ..samples::place() };
    for place in [None, Some(sandbox.clone()), Some(changed), Some(sandbox)] {
        process.cgroup.place.set(place.map(Arc::new));
        assert!(batcher.push(&sample::exec(process.clone())).is_none());
    }
    let request: ExportLogsServiceRequest = decoded(&batcher.seal().expect("a batch"));
    let counts = request.resource_logs.iter().map(|group| group.scope_logs[0].log_records.len());
    assert_eq!(counts.collect::<Vec<_>>(), [1, 2, 1]);
    let names = [0, 1, 2].map(|index| resource(&request, index)["service.name"].clone());
    assert_eq!(names, ["abc", "web", "web"]);
    // What the cgroup's name tells stays, as long as nobody knows more of the container.
    assert_eq!(resource(&request, 1)["container.id"], "abc");
    assert_eq!(resource(&request, 2)["k8s.pod.label.a"], "b");
}

#[test]
fn annotations_say_what_a_service_is_and_nothing_that_the_agent_knows() {
    let pairs = samples::pairs(&[
        ("deployment.environment.name", "theirs"),
        ("service.criticality", "high"),
        ("service.name", "twice"),
        ("host.name", "elsewhere"),
        ("container.id", "another"),
        ("k8s.statefulset.name", "another"),
        ("k8s.cluster.name", "another"),
        ("os.build_id", "another"),
        ("telemetry.sdk.name", "another"),
        ("team", "a"),
        ("", "nothing"),
    ]);
    let service = Service {
        name: Some("shop-front".to_owned()),
        namespace: Some("sales".to_owned()),
        version: Some("v9".to_owned()),
        instance: Some("one".to_owned()),
        attributes: pairs,
    };
    let place = Place { pod: Arc::new(Pod { service, ..samples::pod() }), ..samples::place() };
    let declared = Declared {
        service_name: None,
        attributes: samples::pairs(&[("deployment.environment.name", "prod"), ("service.version", "host's")]),
    };
    let event = sample::exec(samples::placed(sample::process(1), place));
    let node = Node { declared, ..sample::node() };
    let request: ExportLogsServiceRequest = decoded(&sealed(Signal::Logs, node, &[event]).expect("a batch"));
    let found = resource(&request, 0);
    for (key, expected) in [
        ("service.name", Some("shop-front")),
        ("service.namespace", Some("sales")),
        ("service.version", Some("v9")),
        ("service.instance.id", Some("one")),
        ("service.criticality", Some("high")),
        ("deployment.environment.name", Some("prod")),
        ("host.name", Some("node-1")),
        ("k8s.statefulset.name", None),
        ("k8s.cluster.name", None),
        ("os.build_id", None),
        ("telemetry.sdk.name", Some("trigon")),
        ("team", Some("a")),
        ("", None),
    ] {
        assert_eq!(found.get(key).map(String::as_str), expected, "{key}");
    }
    assert_eq!(found["container.id"], "0123456789abcdef".repeat(4));
}

#[test]
fn services_are_named_by_workload_then_pod_then_container() {
    let named = |made: Option<(&str, &str)>, name: &str| {
        let workload = made.map(|(kind, name)| Workload { kind: kind.to_owned(), name: name.to_owned() });
        let pod = Pod { workload, name: name.to_owned(), ..samples::pod() };
        let event = sample::exec(samples::placed(
            sample::process(1),
            Place { pod: Arc::new(pod), ..samples::place() },
        ));
        let request = logs(&[event]);
        let found = resource(&request, 0);
        let key = found.iter().find(|(key, value)| key.starts_with("k8s.") && *value == "w");
        (found["service.name"].clone(), key.map(|(key, _)| (*key).to_owned()).unwrap_or_default())
    };
    for (kind, key) in [
        ("Deployment", "k8s.deployment.name"),
        ("ReplicaSet", "k8s.replicaset.name"),
        ("StatefulSet", "k8s.statefulset.name"),
        ("DaemonSet", "k8s.daemonset.name"),
        ("CronJob", "k8s.cronjob.name"),
        ("Job", "k8s.job.name"),
        ("Rollout", ""),
    ] {
        assert_eq!(named(Some((kind, "w")), "p"), ("w".to_owned(), key.to_owned()));
    }
    assert_eq!(named(None, "p").0, "p");
    assert_eq!(named(None, "").0, "nginx");
}

#[test]
fn hostile_pods_arrive_as_they_are_and_are_part_of_the_size() {
    let event = samples::table().into_iter().find(|(name, _)| *name == "hostile_pod").unwrap().1;
    let place = event.process.place().as_deref().unwrap().clone();
    let request = logs(&[event]);
    let found = resource(&request, 0);
    assert_eq!(found["k8s.pod.name"], place.pod.name);
    let (key, value) = &place.pod.labels[0];
    assert_eq!(found[&*format!("k8s.pod.label.{key}")], *value);

    let annotations = vec![("a".to_owned(), "x".repeat(200_000))];
    let place = Place { pod: Arc::new(Pod { annotations, ..samples::pod() }), ..samples::place() };
    let limits = BatchConfig { max_bytes: 100_000, ..ONE_BATCH };
    let mut batcher = Batcher::new(Signal::Logs, Arc::new(sample::node()), limits);
    let event = sample::exec(samples::placed(sample::process(1), place));
    assert!(batcher.push(&event).is_some_and(|batch| batch.body.len() > 200_000));
}
