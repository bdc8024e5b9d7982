//! Who may call what: the conductor with its token, and whoever sits at this machine for `GET /start`.

use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri};
use kit::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Passes a call to a listener that only this machine can reach, made by its own name and that no other site's page has caused. The port is not looked at: a
/// front door or a port-forward may have another.
pub(crate) fn from_here(request: &Parts) -> Result<(), ApiError> {
    let host = single(&request.headers, &HOST)?.ok_or_else(|| ApiError::bad_request("the Host header is missing"))?;
    let target = request.uri.authority().map(|a| a.as_str());
    if !is_loopback(host) || target.is_some_and(|target| !target.eq_ignore_ascii_case(host)) {
        let message =
            "this call is for this machine only; use http://127.0.0.1:PORT/start, or PUT /load with the token";
        return Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, message));
    }
    let same_origin = single(&request.headers, &ORIGIN)?
        .is_none_or(|origin| origin.strip_prefix("http://").is_some_and(|from| from.eq_ignore_ascii_case(host)));
    let same_site =
        single(&request.headers, &SEC_FETCH_SITE)?.is_none_or(|site| matches!(site, "same-origin" | "none"));
    if same_origin && same_site {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "a page of another site may not begin load"))
}

/// `127.0.0.1`, `[::1]` or `localhost`, with a port or without.
fn is_loopback(authority: &str) -> bool {
    let parsed = Uri::builder().scheme("http").authority(authority).path_and_query("/").build();
    let Some(host) = parsed.ok().filter(|_| !authority.contains('@')).and_then(|uri| uri.host().map(str::to_owned))
    else {
        return false;
    };
    ["127.0.0.1", "[::1]", "localhost"].iter().any(|ours| host.eq_ignore_ascii_case(ours))
}

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(ApiError::bad_request(format!("the {name} header is given more than once; give it once")));
    }
    let plain = |_| ApiError::bad_request(format!("the {name} header is not plain text"));
    first.map(|value| value.to_str().map_err(plain)).transpose()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("/start", &[("host", "127.0.0.1:8080")], 200)]
    #[case::name("/start", &[("host", "LocalHost")], 200)]
    #[case::six("/start", &[("host", "[::1]:9")], 200)]
    #[case::own_page("/start", &[("host", "localhost:1"), ("origin", "http://localhost:1"), ("sec-fetch-site", "same-origin")], 200)]
    #[case::typed("/start", &[("host", "localhost:1"), ("sec-fetch-site", "none")], 200)]
    #[case::absolute("http://localhost:1/start", &[("host", "localhost:1")], 200)]
    #[case::no_host("/start", &[], 400)]
    #[case::two_hosts("/start", &[("host", "localhost"), ("host", "evil.example")], 400)]
    #[case::evil("/start", &[("host", "evil.example:8080")], 421)]
    #[case::prefix("/start", &[("host", "localhost.evil.example")], 421)]
    #[case::dot("/start", &[("host", "localhost.")], 421)]
    #[case::user("/start", &[("host", "localhost@evil.example")], 421)]
    #[case::user_before("/start", &[("host", "evil@localhost")], 421)]
    #[case::evil_absolute("http://evil.example/start", &[("host", "localhost:1")], 421)]
    #[case::origin("/start", &[("host", "localhost:1"), ("origin", "http://evil.example")], 403)]
    #[case::null("/start", &[("host", "localhost:1"), ("origin", "null")], 403)]
    #[case::other_port("/start", &[("host", "localhost:1"), ("origin", "http://localhost:2")], 403)]
    #[case::cross("/start", &[("host", "localhost:1"), ("sec-fetch-site", "cross-site")], 403)]
    #[case::same_site("/start", &[("host", "localhost:1"), ("sec-fetch-site", "same-site")], 403)]
    fn callers(#[case] target: &str, #[case] headers: &[(&str, &str)], #[case] status: u16) {
        let mut request = Request::builder().uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let head = request.body(()).expect("a valid head").into_parts().0;
        assert_eq!(from_here(&head).map_or_else(|e| e.status().as_u16(), |()| 200), status);
    }
}
