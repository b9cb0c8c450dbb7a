//! What stands for the kernel: whatever the reader takes is loaded.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use trigon::{
    api::{HookStatus, Origin, PolicyStatus, State},
    kubernetes::{
        policies::{Wanted, WantedList},
        report::Told,
    },
    policy,
};

/// Tells of each list what the reader says of it.
pub async fn by_reader(mut wanted: watch::Receiver<WantedList>, told: watch::Sender<Arc<[Told]>>) {
    while wanted.changed().await.is_ok() {
        let list = Arc::clone(&wanted.borrow_and_update());
        told.send_replace(list.iter().map(tell).collect());
    }
}

fn tell(wanted: &Wanted) -> Told {
    let Wanted { object, refused } = wanted;
    let checked = policy::check_text(&object.text);
    let (state, error) = match (refused, checked.first_error()) {
        (Some((state, error)), _) => (*state, Some(error.clone())),
        (None, Some(error)) => (State::LoadError, Some(error)),
        (None, None) => (State::Enabled, None),
    };
    let hooks = checked.policies.iter().flat_map(|policy| &policy.hooks);
    let status = PolicyStatus {
        name: Some(object.key.name.clone()),
        namespace: object.key.namespace.clone(),
        state,
        mode: None,
        since: Timestamp::UNIX_EPOCH,
        from: Origin::Kubernetes(object.key.group),
        hooks: hooks
            .map(|hook| HookStatus { name: hook.point.to_string(), mechanism: Some("fentry".to_owned()) })
            .collect(),
        kernel_memory_bytes: 100_000,
        error,
    };
    Told { status, generation: object.generation }
}
