//! Who may do what: tokens, and the rules of roles.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;
use serde_json::Value;

use super::{request::Asked, status::Status};

/// The tokens that are good, and what each is good for.
#[derive(Debug, Default)]
pub struct Access {
    users: Mutex<BTreeMap<String, User>>,
}

/// Somebody who has a token.
#[derive(Clone, Debug)]
pub struct User {
    /// The name.
    pub name: String,
    /// What is allowed; none where everything is.
    rules: Option<Vec<(Option<String>, Rule)>>,
}

/// A rule of a Role or a ClusterRole.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    api_groups: Vec<String>,
    resources: Vec<String>,
    resource_names: Vec<String>,
    verbs: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    urls: Vec<String>,
}

/// What everybody with a token may ask.
const FREE: [&str; 7] = ["/api", "/apis", "/openapi", "/version", "/healthz", "/livez", "/readyz"];

// === impl Access ===

impl Access {
    /// Takes a token from now on, of somebody who may do everything.
    pub fn admit(&self, token: &str, name: &str) {
        self.lock().insert(token.into(), User { name: name.into(), rules: None });
    }

    /// Takes it no more.
    pub fn revoke(&self, token: &str) {
        self.lock().remove(token);
    }

    /// Whoever has this token may do from now on what these roles say, and nothing else.
    ///
    /// # Panics
    /// The token isn't good, or one of them isn't a role.
    pub fn limit(&self, token: &str, roles: &[Value]) {
        let mut rules = Vec::new();
        for role in roles {
            let namespace = match role["kind"].as_str() {
                Some("Role") => Some(role["metadata"]["namespace"].as_str().expect("a namespace").to_owned()),
                Some("ClusterRole") => None,
                kind => panic!("neither Role nor ClusterRole: {kind:?}"),
            };
            let of: Vec<Rule> = serde_json::from_value(role["rules"].clone()).expect("a role has rules");
            rules.extend(of.into_iter().map(|rule| (namespace.clone(), rule)));
        }
        self.lock().get_mut(token).expect("the token is good").rules = Some(rules);
    }

    /// Who has a token, by the header `Authorization`.
    pub fn user(&self, authorization: &str) -> Result<User, Status> {
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        self.lock().get(token).cloned().ok_or_else(Status::unauthorized)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, User>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl User ===

impl User {
    /// Refuses what the rules don't allow.
    pub fn check(&self, asked: &Asked) -> Result<(), Status> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let (path, name) = (&asked.path, &self.name);
        if asked.resource.is_empty() {
            let within =
                |url: &str| path == url || path.strip_prefix(url).is_some_and(|rest| rest.starts_with('/'));
            let allowed = FREE.iter().any(|url| within(url))
                || rules.iter().any(|(namespace, rule)| namespace.is_none() && rule.allows_path(asked));
            let why = format!("User {name:?} cannot {} path {path:?}", asked.verb);
            return if allowed {
                Ok(())
            } else {
                Err(Status::new(403, "Forbidden", format!("forbidden: {why}")))
            };
        }
        let here = |namespace: &Option<String>| namespace.as_ref().is_none_or(|one| *one == asked.namespace);
        if rules.iter().any(|(namespace, rule)| here(namespace) && rule.allows(asked)) {
            return Ok(());
        }
        let Asked { verb, group, resource, subresource, namespace, name: object, .. } = asked;
        let scope = if namespace.is_empty() {
            "at the cluster scope".into()
        } else {
            format!("in the namespace {namespace:?}")
        };
        let slash = if subresource.is_empty() { "" } else { "/" };
        let message = format!(
            "{resource} {object:?} is forbidden: User {name:?} cannot {verb} resource \
             \"{resource}{slash}{subresource}\" in API group {group:?} {scope}"
        );
        Err(Status::new(403, "Forbidden", message).about(group, resource, object))
    }
}

// === impl Rule ===

impl Rule {
    fn allows(&self, asked: &Asked) -> bool {
        let has = |list: &[String], one: &str| list.iter().any(|each| each == "*" || each == one);
        let resource = if asked.subresource.is_empty() {
            asked.resource.clone()
        } else {
            format!("{}/{}", asked.resource, asked.subresource)
        };
        let named = self.resource_names.is_empty() || self.resource_names.contains(&asked.name_or_field());
        has(&self.verbs, &asked.verb)
            && has(&self.api_groups, &asked.group)
            && has(&self.resources, &resource)
            && named
    }

    fn allows_path(&self, asked: &Asked) -> bool {
        let takes = |url: &String| match url.strip_suffix('*') {
            Some(start) => asked.path.starts_with(start),
            None => asked.path == *url,
        };
        self.verbs.iter().any(|verb| verb == "*" || *verb == asked.verb) && self.urls.iter().any(takes)
    }
}
