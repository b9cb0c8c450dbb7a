//! The proxy that gRPC goes through, by the usual variables: `HTTPS_PROXY` or `HTTP_PROXY`, whichever the endpoint's
//! URL is of, `ALL_PROXY`, `NO_PROXY`, and all of them in lower case. reqwest does the same for HTTP.

use http::{HeaderValue, Uri};
use hyper_util::client::{
    legacy::connect::{HttpConnector, proxy::Tunnel},
    proxy::matcher::Matcher,
};

/// A proxy of HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    uri: Uri,
    auth: Option<HeaderValue>,
}

// === impl Proxy ===

impl Proxy {
    /// The proxy for an endpoint, if there is one.
    pub(super) fn find(matcher: &Matcher, endpoint: &Uri) -> Result<Option<Self>, String> {
        let Some(found) = matcher.intercept(endpoint) else { return Ok(None) };
        // The user name stands apart.
        match found.uri().scheme_str() {
            Some("http") => {}
            _ => return Err(format!("the proxy {} can't carry gRPC: only http:// proxies do", found.uri())),
        }
        let auth = found.basic_auth().cloned().map(|mut auth| {
            auth.set_sensitive(true);
            auth
        });
        Ok(Some(Self { uri: found.uri().clone(), auth }))
    }

    /// Connects by way of the proxy, whether the endpoint is encrypted or not: HTTP/2 can't be passed on otherwise.
    pub(super) fn connector(self) -> Tunnel<HttpConnector> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let tunnel = Tunnel::new(self.uri, connector);
        match self.auth {
            Some(auth) => tunnel.with_auth(auth),
            None => tunnel,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_found_by_scheme_and_host() {
        let matcher = Matcher::builder()
            .http("http://me:secret@plain:3128")
            .https("http://tls:3128")
            .no("localhost,10.0.0.0/8")
            .build();
        let find = |uri: &'static str| Proxy::find(&matcher, &Uri::from_static(uri)).unwrap();
        let plain = find("http://c:4317").unwrap();
        assert_eq!(plain.uri, "http://plain:3128/");
        assert!(plain.auth.is_some() && !format!("{plain:?}").contains("secret"));
        assert_eq!(find("https://c:4317").unwrap().uri, "http://tls:3128/");
        assert_eq!((find("https://localhost:4317"), find("http://10.1.2.3:4317")), (None, None));
        let socks = Matcher::builder().all("socks5://me:secret@s:1080").build();
        let reason = Proxy::find(&socks, &Uri::from_static("http://c")).unwrap_err();
        assert!(reason.contains("socks5://s:1080") && !reason.contains("secret"), "{reason}");
    }
}
