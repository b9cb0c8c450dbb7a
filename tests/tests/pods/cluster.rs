//! An API server that is away, forgets, or isn't there yet.

use trigon_tests::{
    apiserver::ApiServer,
    kubelet::{Driver, NodePod},
    suite::Suite,
};

use crate::{
    KERNEL,
    scene::{LONG, Scene, assert_placed, assert_unplaced, pod},
};

pub fn tests(suite: &mut Suite) {
    suite.test("an_api_server_that_is_away_and_comes_back", KERNEL, away);
    suite.test("an_api_server_that_comes_after_the_agent", KERNEL, late);
    suite.test("an_api_server_that_forgot_what_was_seen_last", KERNEL, gone);
}

/// What is known stays known; what is new goes out without; and when it is back everything is told again.
fn away() {
    let scene = Scene::start("500ms", "");
    let (first, second) = (NodePod::new(Driver::Systemd), NodePod::new(Driver::Systemd));
    let (of_first, of_second) = (first.container(), second.container());
    scene.server.put(pod(&first, "web-1", &[("nginx", &of_first)]));
    scene.present(1);
    scene.server.leave();
    scene.agent.until_metrics("the failure", |metrics| {
        (metrics.sum("trigon_watch_errors_total", &[("watch", "pods")]) > 0.0).then_some(())
    });
    scene.server.put(pod(&second, "web-2", &[("nginx", &of_second)]));
    scene.run(&of_first);
    scene.lines(2).iter().for_each(|line| assert_placed(line, "web-1", &of_first));
    scene.run(&of_second);
    scene.lines(4)[2..].iter().for_each(assert_unplaced);
    scene.server.come_back();
    scene.present(2);
    scene.run(&of_second);
    scene.lines(6)[4..].iter().for_each(|line| assert_placed(line, "web-2", &of_second));
}

fn late() {
    let server = ApiServer::start();
    server.leave();
    let scene = Scene::with(server, LONG, "");
    let node_pod = NodePod::new(Driver::CriO);
    let container = node_pod.container();
    scene.run(&container);
    scene.until_waiting(4.0);
    scene.server.put(pod(&node_pod, "web-1", &[("nginx", &container)]));
    scene.server.come_back();
    scene.lines(2).iter().for_each(|line| assert_placed(line, "web-1", &container));
}

/// 410 Gone: it lists again, and what isn't listed is gone.
fn gone() {
    let scene = Scene::start(LONG, "");
    let (first, second) = (NodePod::new(Driver::Systemd), NodePod::new(Driver::Systemd));
    let container = second.container();
    let object = pod(&first, "web-1", &[("nginx", &first.container())]);
    scene.server.put(object.clone());
    scene.present(1);
    scene.server.leave();
    scene.server.delete(&object);
    scene.server.put(pod(&second, "web-2", &[("nginx", &container)]));
    scene.server.compact();
    scene.server.come_back();
    scene.agent.until_metrics("the new list", |metrics| {
        let count = |state| metrics.sum("trigon_pods", &[("state", state)]);
        (count("present") == 1.0 && count("deleted") == 1.0).then_some(())
    });
    scene.run(&container);
    scene.lines(2).iter().for_each(|line| assert_placed(line, "web-2", &container));
    assert!(scene.agent.metrics().sum("trigon_watch_errors_total", &[("error", "expired")]) > 0.0);
}
