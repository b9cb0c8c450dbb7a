//! Writing the report: by server-side apply, and only when it says something new.

use std::{sync::Arc, time::Duration};

use http::{StatusCode, header::RETRY_AFTER};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Client, Resource as _,
    api::{Patch, PatchParams},
    client::Body,
    core::Request,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, info, warn};

use super::{
    ReportFields, Told, TracingPolicyReport,
    schedule::{Failure, Schedule},
};
use crate::kubernetes::node::NodeMeta;

/// Who writes the fields, to the API server.
const MANAGER: &str = "trigon";

/// How long an attempt may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes the report of the node `name` whenever there is something new, without end. The report stays when the agent
/// stops, and goes with the node.
pub async fn run(
    client: Client,
    name: String,
    mut node: watch::Receiver<Option<NodeMeta>>,
    mut told: watch::Receiver<Arc<[Told]>>,
    interval: Duration,
) {
    let mut schedule = Schedule::new(interval);
    let mut written: Option<TracingPolicyReport> = None;
    let mut complained = None;
    // An agent without policies reports, too.
    schedule.changed(Instant::now(), fastrand::f64());
    loop {
        let due = schedule.due();
        tokio::select! {
            changed = told.changed() => match changed {
                Ok(()) => schedule.changed(Instant::now(), fastrand::f64()),
                Err(_) => return,
            },
            Ok(()) = node.changed() => schedule.changed(Instant::now(), fastrand::f64()),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let report = report(&name, &told.borrow_and_update(), node.borrow_and_update().as_ref());
                if written.as_ref() == Some(&report) {
                    schedule.unneeded();
                    continue;
                }
                match apply(&client, &report).await {
                    Ok(()) => {
                        if complained.take().is_some() {
                            info!("the report on policies can be written again");
                        }
                        written = Some(report);
                        schedule.written(Instant::now());
                    }
                    Err((failure, error)) => {
                        debug!(%error, "writing the report on policies");
                        let refused = failure == Failure::Refused;
                        if complained != Some(refused) {
                            warn!("the report on policies can't be written: {error}; tried again later");
                            complained = Some(refused);
                        }
                        schedule.failed(Instant::now(), failure, fastrand::f64());
                    }
                }
            }
        }
    }
}

fn report(name: &str, told: &[Told], node: Option<&NodeMeta>) -> TracingPolicyReport {
    let mut report = TracingPolicyReport::new(name, ReportFields::of(told));
    report.metadata.owner_references = node.filter(|node| !node.uid.is_empty()).map(|node| {
        vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: name.to_owned(),
            uid: node.uid.clone(),
            ..OwnerReference::default()
        }]
    });
    report
}

/// One attempt, without the client's own that follow a failure: when the next is due is [`Schedule`]'s to say.
async fn apply(client: &Client, report: &TracingPolicyReport) -> Result<(), (Failure, String)> {
    let name = report.metadata.name.as_deref().unwrap_or_default();
    let request = Request::new(TracingPolicyReport::url_path(&(), None)).patch(
        name,
        &PatchParams::apply(MANAGER).force(),
        &Patch::Apply(report),
    );
    let request = request.map_err(|error| (Failure::Refused, error.to_string()))?;
    let away = |error: kube::Error| (Failure::Busy(None), error.to_string());
    let answer = timeout(PATIENCE, async {
        let response = client.send(request.map(Body::from)).await?;
        let (parts, body) = response.into_parts();
        // Read to its end, or the connection can't be used again.
        let body = body.collect_bytes().await?;
        Ok((parts, body))
    });
    let (parts, body) = match answer.await {
        Ok(answer) => answer.map_err(away)?,
        Err(_) => return Err((Failure::Busy(None), format!("no answer within {PATIENCE:?}"))),
    };
    if parts.status.is_success() {
        return Ok(());
    }
    let asked = parts.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let failure = match parts.status {
        StatusCode::TOO_MANY_REQUESTS => Failure::Busy(asked.map(Duration::from_secs)),
        status if status.is_server_error() => Failure::Busy(asked.map(Duration::from_secs)),
        _ => Failure::Refused,
    };
    let message = serde_json::from_slice::<kube::core::Status>(&body).map(|status| status.message);
    Err((failure, format!("{}: {}", parts.status, message.unwrap_or_default())))
}
