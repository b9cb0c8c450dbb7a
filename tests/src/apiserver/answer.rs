//! What the server answers to a request.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header},
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{
    Shared, discovery,
    faults::Fault,
    objects::{Change, Done},
    protobuf,
    reading::Wanted,
    record::Entry,
    request::Asked,
    resource::Id,
    status::Status,
    store::Key,
    watching,
};

/// A real server takes no larger body.
const LARGEST: usize = 3 << 20;

/// Answers a request. `cut` has its connection reset.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Body>, cut: Arc<Notify>) -> Response<Body> {
    let asked = Asked::read(request.method(), request.uri());
    let entry = shared.record.begin(&asked, &header_of(request.headers(), &header::USER_AGENT));
    let result = match shared.faults.next(&asked) {
        Some(Fault::Reset) => {
            cut.notify_one();
            std::future::pending().await
        }
        Some(Fault::Silent) => std::future::pending().await,
        Some(Fault::Slow(time)) => {
            tokio::time::sleep(time).await;
            serve(&shared, &asked, request, &entry).await
        }
        Some(fault) => Err(fault.status().unwrap_or_else(Status::no_such_path)),
        None => serve(&shared, &asked, request, &entry).await,
    };
    let response = result.unwrap_or_else(|status| {
        let code = status.code;
        let mut response = json_response(code, &status.object(), &entry);
        if let Some(seconds) = status.details.get("retryAfterSeconds").and_then(Value::as_u64) {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    });
    entry.ends(response.status().as_u16());
    response
}

async fn serve(
    shared: &Arc<Shared>,
    asked: &Asked,
    request: Request<Body>,
    entry: &Arc<Entry>,
) -> Result<Response<Body>, Status> {
    let [authorization, accept, media, agent] =
        [header::AUTHORIZATION, header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT]
            .map(|name| header_of(request.headers(), &name));
    let user = shared.access.user(&authorization)?;
    entry.is_of(&user.name);
    user.check(asked)?;
    let speaks = |one: &str| one.is_empty() || one.contains("json") || one.contains("*/*");
    if !speaks(&accept) {
        return Err(Status::new(406, "NotAcceptable", "only JSON is spoken here"));
    }
    if asked.resource.is_empty() {
        return match discovery::answer(&shared.store.resources(), &asked.path) {
            Some(Value::String(text)) => Ok(Response::new(text.into())),
            Some(found) => Ok(json_response(200, &found, entry)),
            None => Err(Status::no_such_path()),
        };
    }
    let resource = shared.store.resource(&Id::new(&asked.group, &asked.resource))?;
    let version = resource.version(&asked.version).ok_or_else(Status::no_such_path)?;
    match asked.subresource.as_str() {
        "" => {}
        "status" if version.status && matches!(asked.verb.as_str(), "get" | "patch" | "update") => {}
        _ => return Err(Status::no_such_path()),
    }
    let wanted = Wanted::new(&resource, version, asked, &accept)?;
    let key = Key {
        namespace: if resource.namespaced { asked.namespace.clone() } else { String::new() },
        name: asked.name.clone(),
    };
    match asked.verb.as_str() {
        "get" => {
            let object = shared.store.get(&resource.id, &key);
            let missing = || Status::not_found(&asked.group, &asked.resource, &asked.name);
            let object = object.ok_or_else(missing)?;
            return Ok(json_response(200, &wanted.shown(&object), entry));
        }
        "list" => return Ok(json_response(200, &wanted.list(&shared.store, asked)?, entry)),
        "watch" => {
            let stream = watching::open(shared, asked, wanted, entry)?;
            let mut response = Response::new(stream);
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(header::CONTENT_TYPE, json);
            return Ok(response);
        }
        _ => {}
    }
    let body = axum::body::to_bytes(request.into_body(), LARGEST).await.map_err(|_| {
        Status::new(413, "RequestEntityTooLarge", format!("Request entity too large: limit is {LARGEST}"))
    })?;
    entry.received.store(body.len() as u64, Ordering::Relaxed);
    let media = media.split(';').next().unwrap_or_default().trim().to_owned();
    let body = read(&media, &body)?;
    let manager = match asked.parameter("fieldManager") {
        "" => agent.split('/').next().unwrap_or_default(),
        manager => manager,
    };
    let change = Change { store: &shared.store, asked, resource: &resource, version, manager };
    let done = match asked.verb.as_str() {
        "create" if asked.name.is_empty() => change.create(&body)?,
        "update" => change.update(&body)?,
        "patch" => change.patch(&media, &body)?,
        "delete" => change.delete(&body)?,
        "deletecollection" => {
            let list = wanted.list(&shared.store, asked)?;
            for item in list["items"].as_array().into_iter().flatten() {
                let key = Key::of(item);
                let one = Asked { name: key.name, namespace: key.namespace, ..asked.clone() };
                Change { asked: &one, ..change }.delete(&body)?;
            }
            Done { code: 200, object: list, warnings: Vec::new() }
        }
        _ => return Err(Status::new(405, "MethodNotAllowed", "the server does not allow this method here")),
    };
    let is_object = done.object["kind"] == *resource.kind;
    let object = if is_object { wanted.shown(&done.object) } else { done.object };
    let mut response = json_response(done.code, &object, entry);
    for warning in done.warnings {
        let warning = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = format!("299 - \"{warning}\"").parse() {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    Ok(response)
}

/// A header; empty where there is none.
fn header_of(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// A body: JSON, or YAML where that is how an applied configuration may come.
fn read(media: &str, body: &Bytes) -> Result<Value, Status> {
    let unreadable = |error: String| Status::bad_request(format!("couldn't read the body: {error}"));
    match media {
        _ if body.is_empty() => Ok(json!({})),
        "application/apply-patch+yaml" | "application/yaml" => {
            let text = std::str::from_utf8(body).map_err(|error| unreadable(error.to_string()))?;
            serde_saphyr::from_str(text).map_err(|error| unreadable(error.to_string()))
        }
        "application/vnd.kubernetes.protobuf" => {
            protobuf::read(body).map_err(|why| Status::new(415, "UnsupportedMediaType", why))
        }
        "" => serde_json::from_slice(body).map_err(|error| unreadable(error.to_string())),
        json if json.ends_with("json") => {
            serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))
        }
        _ => Err(Status::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format: {media:?}"),
        )),
    }
}

fn json_response(code: u16, object: &Value, entry: &Entry) -> Response<Body> {
    let body = object.to_string();
    entry.sent.fetch_add(body.len() as u64, Ordering::Relaxed);
    let response = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    response.body(body.into()).expect("a plain response")
}
