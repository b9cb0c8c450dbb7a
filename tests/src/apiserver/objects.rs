//! The verbs that change objects.

use jiff::{Timestamp, Unit};
use serde_json::{Map, Value, json};

use super::{
    definition,
    ownership::{self, Form, Writer},
    patch,
    request::Asked,
    resource::{Id, Resource, Shape, Version},
    status::Status,
    store::{Key, Store},
};

/// What a change came to.
#[derive(Debug)]
pub struct Done {
    /// The HTTP status.
    pub code: u16,
    /// The object, or a `Status`.
    pub object: Value,
    /// What the client shall tell its user.
    pub warnings: Vec<String>,
}

/// A request that changes objects.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Where they are.
    pub store: &'a Store,
    /// What is asked.
    pub asked: &'a Asked,
    /// The resource.
    pub resource: &'a Resource,
    /// The version that the client speaks.
    pub version: &'a Version,
    /// The field manager.
    pub manager: &'a str,
}

/// The time as objects have it.
pub fn now() -> String {
    Timestamp::now().round(Unit::Second).unwrap_or_else(|_| Timestamp::now()).to_string()
}

/// An id as objects have it.
fn uid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("the kernel makes ids").trim().to_owned()
}

/// Puts an object as it is, as a component of the cluster would: with its status, and without anybody's leave.
///
/// # Panics
/// It is of no resource that is served, or isn't what that resource looks like.
pub fn put(store: &Store, mut object: Value) -> Value {
    let (resource, version) = of_object(store, &object);
    admit(&resource, &version, &mut object, "Strict").unwrap_or_else(|status| panic!("{}", status.message));
    if resource.namespaced && Key::of(&object).namespace.is_empty() {
        object["metadata"]["namespace"] = "default".into();
    }
    let key = Key::of(&object);
    let edit = |before: Option<&Value>| {
        inherit(&resource, before, &mut object);
        Ok(Some(object))
    };
    let object = store.edit(&resource.id, &key, false, edit).expect("its resource is served");
    settle(store, &resource.id, &object);
    (*object).clone()
}

/// The resource and version of an object.
///
/// # Panics
/// There is none.
pub fn of_object(store: &Store, object: &Value) -> (std::sync::Arc<Resource>, Version) {
    let (api, kind) = (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str());
    let (group, version) = api.split_once('/').unwrap_or(("", api));
    let resources = store.resources();
    let found = resources.into_iter().find_map(|resource| {
        let is_it = resource.id.group == group && Some(resource.kind.as_str()) == kind;
        let version = resource.version(version).filter(|_| is_it).cloned()?;
        Some((resource, version))
    });
    found.unwrap_or_else(|| panic!("nothing is served that {api} {kind:?} could be"))
}

// === impl Change ===

impl Change<'_> {
    /// POST.
    pub fn create(self, body: &Value) -> Result<Done, Status> {
        let mut object = body.clone();
        self.fit(&mut object)?;
        let metadata = &object["metadata"];
        if let (true, Some(stem)) = (Key::of(&object).name.is_empty(), metadata["generateName"].as_str()) {
            object["metadata"]["name"] = format!("{stem}{}", &uid()[..5]).into();
        }
        let key = Key::of(&object);
        if key.name.is_empty() {
            return Err(Status::invalid(
                &self.resource.id.group,
                &self.resource.kind,
                "",
                &[("metadata.name".into(), "Required value: name or generateName is required".into())],
            ));
        }
        if object["metadata"]["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            return Err(Status::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let core = Id::new("", "namespaces");
        let of_it = Key { namespace: String::new(), name: key.namespace.clone() };
        if self.resource.namespaced && self.store.get(&core, &of_it).is_none() {
            return Err(Status::not_found("", "namespaces", &key.namespace));
        }
        if self.version.status {
            object.as_object_mut().map(|fields| fields.remove("status"));
        }
        let warnings = self.admit(&mut object)?;
        let edit = |before: Option<&Value>| {
            if before.is_some() {
                return Err(Status::already_exists(
                    &self.resource.id.group,
                    &self.resource.id.plural,
                    &key.name,
                ));
            }
            inherit(self.resource, None, &mut object);
            ownership::updated(None, &mut object, self.form(), self.writer("Update", &now()));
            Ok(Some(object))
        };
        self.edit(&key, 201, warnings, edit)
    }

    /// PUT.
    pub fn update(self, body: &Value) -> Result<Done, Status> {
        let mut object = body.clone();
        self.fit(&mut object)?;
        let mut warnings = Vec::new();
        let key = self.key();
        let edit = |before: Option<&Value>| {
            let before = before.ok_or_else(|| self.not_found())?;
            self.change(before, object, &mut warnings)
        };
        let done = self.edit(&key, 200, Vec::new(), edit);
        done.map(|done| Done { warnings, ..done })
    }

    /// PATCH with a body of this media type.
    pub fn patch(self, media: &str, body: &Value) -> Result<Done, Status> {
        let applies = media.starts_with("application/apply-patch");
        if applies && self.asked.parameter("fieldManager").is_empty() {
            return Err(Status::bad_request("fieldManager is required for apply patch"));
        }
        let key = self.key();
        let mut warnings = Vec::new();
        let mut code = 200;
        let edit = |before: Option<&Value>| match before {
            None if applies && self.asked.subresource.is_empty() => {
                code = 201;
                self.apply(None, body, &mut warnings)
            }
            None => Err(self.not_found()),
            Some(before) if applies => self.apply(Some(before), body, &mut warnings),
            Some(before) => {
                let mut object = patch::patched(&self.spoken(before), media, body)?;
                self.fit(&mut object)?;
                self.change(before, object, &mut warnings)
            }
        };
        let done = self.edit(&key, 200, Vec::new(), edit);
        done.map(|done| Done { code, warnings, ..done })
    }

    /// DELETE with these options.
    pub fn delete(self, options: &Value) -> Result<Done, Status> {
        let key = self.key();
        let mut removed = true;
        let edit = |before: Option<&Value>| {
            let before = before.ok_or_else(|| self.not_found())?;
            let wanted = &options["preconditions"];
            for name in ["uid", "resourceVersion"] {
                if wanted[name].is_string() && wanted[name] != before["metadata"][name] {
                    let why = format!("Precondition failed: {name} is {}", before["metadata"][name]);
                    return Err(self.conflict(&why));
                }
            }
            let finalizers = before["metadata"]["finalizers"].as_array();
            if finalizers.is_none_or(Vec::is_empty) {
                return Ok(None);
            }
            removed = false;
            let mut object = before.clone();
            if object["metadata"]["deletionTimestamp"].is_null() {
                object["metadata"]["deletionTimestamp"] = now().into();
                object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
            }
            Ok(Some(object))
        };
        let last = self.store.edit(&self.resource.id, &key, self.asked.is_dry(), edit)?;
        if !removed {
            return Ok(Done { code: 200, object: self.spoken(&last), warnings: Vec::new() });
        }
        if !self.asked.is_dry() {
            gone(self.store, &self.resource.id, &last);
        }
        let uid = last["metadata"]["uid"].clone();
        let id = &self.resource.id;
        let details = json!({"name": key.name, "group": id.group, "kind": id.plural, "uid": uid});
        let object = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
        });
        Ok(Done { code: 200, object, warnings: Vec::new() })
    }

    /// An object in the version that the client speaks.
    pub fn spoken(self, object: &Value) -> Value {
        let mut object = object.clone();
        object["apiVersion"] = self.resource.api_version(&self.version.name).into();
        object
    }

    fn key(self) -> Key {
        let namespace = if self.resource.namespaced { self.asked.namespace.clone() } else { String::new() };
        Key { namespace, name: self.asked.name.clone() }
    }

    fn not_found(self) -> Status {
        Status::not_found(&self.resource.id.group, &self.resource.id.plural, &self.asked.name)
    }

    fn conflict(self, why: &str) -> Status {
        Status::conflict(&self.resource.id.group, &self.resource.id.plural, &self.asked.name, why)
    }

    fn form(&self) -> Form<'_> {
        match &self.version.shape {
            Shape::Typed(_) => Form::Known,
            Shape::Defined(schema) => Form::Schema(&schema.given),
        }
    }

    fn writer<'a>(&'a self, operation: &'a str, time: &'a str) -> Writer<'a> {
        Writer { manager: self.manager, operation, subresource: &self.asked.subresource, time }
    }

    /// Checks that an object is what its path says, and fills in what the path says and it doesn't.
    fn fit(self, object: &mut Value) -> Result<(), Status> {
        let wrong = |what: &str, is: &Value, should: &str| {
            Status::bad_request(format!(
                "the {what} in the data ({is}) does not match the expected one ({should:?})"
            ))
        };
        let Value::Object(fields) = object else {
            return Err(Status::bad_request("the body is no object"));
        };
        let api = self.resource.api_version(&self.version.name);
        for (name, should) in [("apiVersion", &api), ("kind", &self.resource.kind)] {
            let is = fields.entry(name).or_insert_with(|| should.as_str().into());
            if is != should {
                return Err(wrong(name, is, should));
            }
        }
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        let Value::Object(metadata) = metadata else {
            return Err(Status::bad_request("metadata is no object"));
        };
        let key = self.key();
        let expected = [("namespace", &key.namespace), ("name", &key.name)];
        for (name, should) in expected.into_iter().filter(|(_, should)| !should.is_empty()) {
            let is = metadata.entry(name).or_insert_with(|| should.as_str().into());
            if is != should {
                return Err(wrong(name, is, should));
            }
        }
        if !self.resource.namespaced {
            metadata.remove("namespace");
        }
        Ok(())
    }

    fn admit(self, object: &mut Value) -> Result<Vec<String>, Status> {
        admit(self.resource, self.version, object, self.asked.parameter("fieldValidation"))
    }

    /// Refuses what was made from another revision than `before`.
    fn check_revision(self, before: &Value, object: &Value) -> Result<(), Status> {
        for name in ["resourceVersion", "uid"] {
            let given = object["metadata"][name].as_str().filter(|given| !given.is_empty());
            if given.is_some_and(|given| before["metadata"][name] != given) {
                let why = "the object has been modified; please apply your changes to the latest version \
                           and try again";
                return Err(self.conflict(why));
            }
        }
        Ok(())
    }

    /// What `before` becomes where it shall be `object`; none where that lets it end.
    fn change(
        self,
        before: &Value,
        mut object: Value,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Value>, Status> {
        self.check_revision(before, &object)?;
        let managed = object["metadata"].get("managedFields").cloned();
        self.keep_apart(before, &mut object);
        *warnings = self.admit(&mut object)?;
        inherit(self.resource, Some(before), &mut object);
        if let Some(managed) = managed {
            object["metadata"]["managedFields"] = managed;
        }
        let spoken = self.spoken(before);
        ownership::updated(Some(&spoken), &mut object, self.form(), self.writer("Update", &now()));
        Ok(settled(before, object))
    }

    fn apply(
        self,
        before: Option<&Value>,
        applied: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Value>, Status> {
        let mut applied = applied.clone();
        self.fit(&mut applied)?;
        // What doesn't belong to what is written is nobody's; on the whole object, the status is another one's.
        self.keep_apart(&json!({"metadata": applied["metadata"]}), &mut applied);
        let unknown = unknown(self.version, &mut applied.clone());
        if self.asked.parameter("fieldValidation") == "Strict" && !unknown.is_empty() {
            return Err(strict(&unknown));
        }
        let head = json!({
            "apiVersion": applied["apiVersion"], "kind": applied["kind"],
            "metadata": {"name": applied["metadata"]["name"], "namespace": applied["metadata"]["namespace"]},
        });
        let live = before.map_or(head, |before| self.spoken(before));
        if !self.resource.namespaced && before.is_none() {
            applied["metadata"].as_object_mut().map(|metadata| metadata.remove("namespace"));
        }
        if let Some(before) = before {
            self.check_revision(before, &applied)?;
        }
        let (time, force) = (now(), self.asked.is("force"));
        let writer = self.writer("Apply", &time);
        let mut object =
            ownership::apply(&live, &applied, self.form(), writer, force).map_err(|conflicts| {
                let causes: Vec<_> = conflicts
                    .iter()
                    .map(|(field, manager)| {
                        let message = format!("conflict with {manager:?}");
                        json!({"reason": "FieldManagerConflict", "message": message, "field": field})
                    })
                    .collect();
                let fields: Vec<_> =
                    conflicts.iter().map(|(field, manager)| format!("{manager:?}: {field}")).collect();
                let message = format!(
                    "Apply failed with {} conflicts: conflicts with {}",
                    causes.len(),
                    fields.join(", ")
                );
                Status::new(409, "Conflict", message).with("causes", causes)
            })?;
        let managed = object["metadata"]["managedFields"].clone();
        *warnings = self.admit(&mut object)?;
        inherit(self.resource, before, &mut object);
        object["metadata"]["managedFields"] = managed;
        Ok(match before {
            Some(before) => settled(before, object),
            None => Some(object),
        })
    }

    /// The subresource `status` changes the status alone, and the object itself all but the status.
    fn keep_apart(self, before: &Value, object: &mut Value) {
        if self.asked.subresource == "status" {
            let status = object.get("status").cloned();
            let head = ["apiVersion", "kind"].map(|name| (name, object[name].clone()));
            *object = before.clone();
            for (name, value) in head.into_iter().chain(status.map(|status| ("status", status))) {
                object[name] = value;
            }
        } else if self.version.status {
            let Value::Object(fields) = object else { return };
            match before.get("status") {
                Some(status) => fields.insert("status".into(), status.clone()),
                None => fields.remove("status"),
            };
        }
    }

    fn edit(
        self,
        key: &Key,
        code: u16,
        warnings: Vec<String>,
        edit: impl FnOnce(Option<&Value>) -> Result<Option<Value>, Status>,
    ) -> Result<Done, Status> {
        let dry = self.asked.is_dry();
        let mut ends = false;
        let edit = |before: Option<&Value>| {
            let after = edit(before)?;
            ends = after.is_none();
            Ok(after)
        };
        let object = self.store.edit(&self.resource.id, key, dry, edit)?;
        match (dry, ends) {
            (true, _) => {}
            (false, true) => gone(self.store, &self.resource.id, &object),
            (false, false) => settle(self.store, &self.resource.id, &object),
        }
        Ok(Done { code, object: self.spoken(&object), warnings })
    }
}

/// What the server itself sets, and what stays as it was.
fn inherit(resource: &Resource, before: Option<&Value>, object: &mut Value) {
    if resource.id == definition::id() {
        object["status"] = definition::status(object, &now());
    }
    if (resource.id.group.as_str(), resource.id.plural.as_str()) == ("", "namespaces")
        && object["status"]["phase"].is_null()
    {
        object["status"]["phase"] = "Active".into();
    }
    if let Some(Value::Object(plain)) = object.get_mut("stringData").map(Value::take)
        && let Value::Object(fields) = &mut *object
    {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        fields.remove("stringData");
        let data = fields.entry("data").or_insert_with(|| json!({}));
        for (name, value) in plain {
            data[name] = STANDARD.encode(value.as_str().unwrap_or_default()).into();
        }
    }
    let generation = match before {
        Some(before) => {
            let generation = before["metadata"]["generation"].as_u64().unwrap_or(1);
            generation + u64::from(body(before) != body(object))
        }
        None => 1,
    };
    // Objects of a definition always have a generation, with a status of their own or without.
    let counts = |version: &Version| version.status || matches!(version.shape, Shape::Defined(_));
    let has_generation = resource.versions.iter().any(counts);
    let Value::Object(metadata) = &mut object["metadata"] else { return };
    for name in ["uid", "creationTimestamp", "resourceVersion", "deletionTimestamp"] {
        match before.and_then(|before| before["metadata"].get(name)) {
            Some(value) => metadata.insert(name.into(), value.clone()),
            None if name == "uid" => Some(metadata.entry(name).or_insert_with(|| uid().into()).clone()),
            None if name == "creationTimestamp" => {
                metadata
                    .get(name)
                    .is_none_or(Value::is_null)
                    .then(|| metadata.insert(name.into(), now().into()));
                None
            }
            // Who puts an object may say that it is about to end.
            None if name == "deletionTimestamp" => None,
            None => metadata.remove(name),
        };
    }
    if has_generation {
        metadata.insert("generation".into(), generation.into());
    }
}

/// All but what isn't the user's wish.
fn body(object: &Value) -> Map<String, Value> {
    let apart = ["metadata", "status", "apiVersion", "kind"];
    let fields = object.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !apart.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// None where the object only waited for its last finalizer; `before` where nothing but a time changed.
fn settled(before: &Value, object: Value) -> Option<Value> {
    let metadata = &object["metadata"];
    let waits = metadata["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    if !metadata["deletionTimestamp"].is_null() && !waits {
        return None;
    }
    let timeless = |object: &Value| {
        let mut object = object.clone();
        for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            entry["time"] = Value::Null;
        }
        object
    };
    if timeless(before) == timeless(&object) { Some(before.clone()) } else { Some(object) }
}

/// What follows from an object that was stored.
fn settle(store: &Store, id: &Id, object: &Value) {
    if *id == definition::id()
        && let Ok(resource) = definition::resource(object)
    {
        store.serve(resource);
    }
}

/// What follows from an object that is gone.
pub fn gone(store: &Store, id: &Id, object: &Value) {
    if *id == definition::id() {
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &object["spec"];
        store.forget(&Id { group: word(&spec["group"]), plural: word(&spec["names"]["plural"]) });
    }
    if (id.group.as_str(), id.plural.as_str()) == ("", "namespaces") {
        for (id, key) in store.within(&Key::of(object).name) {
            let _ = store.edit(&id, &key, false, |_| Ok(None));
        }
    }
}

/// Removes what the version doesn't know, and tells its paths.
fn unknown(version: &Version, object: &mut Value) -> Vec<String> {
    match &version.shape {
        Shape::Defined(schema) => schema.prune(object),
        Shape::Typed(through) => {
            let mut unknown = Vec::new();
            if let Ok(known) = through(object) {
                missing(object, &known, "", &mut unknown);
            }
            unknown
        }
    }
}

fn strict(unknown: &[String]) -> Status {
    let list: Vec<_> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    Status::bad_request(format!("strict decoding error: {}", list.join(", ")))
}

/// Takes an object in: what isn't known is removed or refused, what isn't given is filled in, what is wrong is refused.
fn admit(
    resource: &Resource,
    version: &Version,
    object: &mut Value,
    strictness: &str,
) -> Result<Vec<String>, Status> {
    if let Shape::Typed(through) = version.shape {
        through(object).map_err(|error| {
            Status::bad_request(format!(
                "{} in version {:?} cannot be handled: {error}",
                resource.kind, version.name
            ))
        })?;
    }
    let unknown = unknown(version, object);
    if strictness == "Strict" && !unknown.is_empty() {
        return Err(strict(&unknown));
    }
    let name = Key::of(object).name;
    let invalid = |causes: &[_]| Err(Status::invalid(&resource.id.group, &resource.kind, &name, causes));
    if let Shape::Defined(schema) = &version.shape {
        schema.complete(object);
        let faults = schema.faults(object);
        if !faults.is_empty() {
            return invalid(&faults);
        }
    }
    if resource.id == definition::id()
        && let Err(faults) = definition::resource(object)
    {
        return invalid(&faults);
    }
    let warn = strictness != "Ignore";
    Ok(unknown.into_iter().filter(|_| warn).map(|path| format!("unknown field {path:?}")).collect())
}

/// Removes what isn't in `known`, which has all that isn't empty.
fn missing(given: &mut Value, known: &Value, path: &str, removed: &mut Vec<String>) {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    match (given, known) {
        (Value::Object(fields), Value::Object(known)) => fields.retain(|name, value| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let Some(known) = known.get(name) else {
                if !is_empty(value) {
                    removed.push(path);
                }
                return false;
            };
            missing(value, known, &path, removed);
            true
        }),
        (Value::Array(items), Value::Array(known)) => {
            for (at, (item, known)) in items.iter_mut().zip(known).enumerate() {
                missing(item, known, &format!("{path}[{at}]"), removed);
            }
        }
        _ => {}
    }
}
