//! A plain HTTP client, for servers on this machine.

use ureq::Agent;

/// The body of the answer to a GET.
///
/// # Errors
/// Says why there is none, or that the status is not 200 to 299.
pub fn get(url: &str, query: &[(&str, &str)]) -> Result<String, String> {
    let agent =
        Agent::config_builder().proxy(None).timeout_global(Some(crate::wait::LIMIT)).build().new_agent();
    let request = query.iter().fold(agent.get(url), |request, (name, value)| request.query(name, value));
    let mut answer = request.call().map_err(|error| format!("GET {url}: {error}"))?;
    answer.body_mut().read_to_string().map_err(|error| format!("GET {url}: {error}"))
}
