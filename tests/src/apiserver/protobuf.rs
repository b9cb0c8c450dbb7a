//! Bodies in Kubernetes' protobuf, as far as `helm` and `kubectl` send them, which else speak JSON: where helm keeps what it
//! has installed (Secrets and ConfigMaps), and what goes with a DELETE. The numbers are those of `generated.proto` in
//! Kubernetes' packages `core/v1` and `meta/v1`.

use std::collections::HashMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message;
use serde_json::{Value, json};

/// What each body begins with.
const MAGIC: &[u8] = b"k8s\0";

#[derive(Message)]
struct Unknown {
    #[prost(message, optional, tag = "1")]
    what: Option<TypeMeta>,
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

#[derive(Message)]
struct ObjectMeta {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "3")]
    namespace: String,
    #[prost(string, tag = "5")]
    uid: String,
    #[prost(string, tag = "6")]
    resource_version: String,
    #[prost(map = "string, string", tag = "11")]
    labels: HashMap<String, String>,
    #[prost(map = "string, string", tag = "12")]
    annotations: HashMap<String, String>,
}

#[derive(Message)]
struct Secret {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(map = "string, bytes", tag = "2")]
    data: HashMap<String, Vec<u8>>,
    #[prost(string, tag = "3")]
    r#type: String,
}

#[derive(Message)]
struct ConfigMap {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
    #[prost(map = "string, string", tag = "2")]
    data: HashMap<String, String>,
}

#[derive(Message)]
struct Named {
    #[prost(message, optional, tag = "1")]
    metadata: Option<ObjectMeta>,
}

#[derive(Message)]
struct DeleteOptions {
    #[prost(message, optional, tag = "2")]
    preconditions: Option<Preconditions>,
}

#[derive(Message)]
struct Preconditions {
    #[prost(string, optional, tag = "1")]
    uid: Option<String>,
    #[prost(string, optional, tag = "2")]
    resource_version: Option<String>,
}

/// The same as JSON. The error says what it is that isn't read here.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let body = body.strip_prefix(MAGIC).ok_or("it doesn't begin as Kubernetes' protobuf does")?;
    let unreadable = |error: prost::DecodeError| error.to_string();
    let Unknown { what, raw } = Unknown::decode(body).map_err(unreadable)?;
    let TypeMeta { api_version, kind } = what.unwrap_or_default();
    let mut object = match kind.as_str() {
        "Secret" => {
            let Secret { metadata, data, r#type } = Secret::decode(&*raw).map_err(unreadable)?;
            let data: HashMap<_, _> =
                data.into_iter().map(|(name, value)| (name, STANDARD.encode(value))).collect();
            json!({"metadata": metadata_of(metadata), "data": data, "type": r#type})
        }
        "ConfigMap" => {
            let ConfigMap { metadata, data } = ConfigMap::decode(&*raw).map_err(unreadable)?;
            json!({"metadata": metadata_of(metadata), "data": data})
        }
        // `kubectl create namespace`: nothing but the metadata is given.
        "Namespace" | "ServiceAccount" => {
            let Named { metadata } = Named::decode(&*raw).map_err(unreadable)?;
            json!({"metadata": metadata_of(metadata)})
        }
        "DeleteOptions" => {
            let options = DeleteOptions::decode(&*raw).map_err(unreadable)?;
            let wanted = options.preconditions.unwrap_or_default();
            json!({"preconditions": {"uid": wanted.uid, "resourceVersion": wanted.resource_version}})
        }
        kind => return Err(format!("{kind} in protobuf isn't read by this server")),
    };
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    Ok(object)
}

fn metadata_of(metadata: Option<ObjectMeta>) -> Value {
    let ObjectMeta { name, namespace, uid, resource_version, labels, annotations } =
        metadata.unwrap_or_default();
    let mut metadata = json!({"name": name, "labels": labels, "annotations": annotations});
    for (name, value) in [("namespace", namespace), ("uid", uid), ("resourceVersion", resource_version)] {
        if !value.is_empty() {
            metadata[name] = value.into();
        }
    }
    metadata
}
