//! Who may call: the bearer token, and the Host and Origin rules that keep other web sites' pages out of ours.

use std::fmt;
use std::path::Path;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use crate::{ApiError, ServeError};

/// Shortest token that a file may hold, in bytes.
const SHORTEST: usize = 16;
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// A bearer token. It never shows itself in logs.
#[derive(Clone)]
pub struct Token(SecretString);

/// The answer to a request without the right token: 401.
#[derive(Debug)]
pub struct Unauthorized;

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl Token {
    /// 32 bytes from the operating system, as 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`ServeError::System`] when the operating system gives no randomness.
    pub fn generate() -> Result<Self, ServeError> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| ServeError::System { doing: "make a token", source: error.into() })?;
        let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self(text.into()))
    }

    /// The token that a file holds; white space around it is no part of it.
    ///
    /// # Errors
    /// [`ServeError::Open`] when it cannot be read, [`ServeError::Config`] when it is shorter than 16 bytes.
    pub fn from_file(path: &Path) -> Result<Self, ServeError> {
        let text = std::fs::read_to_string(path).map(SecretString::from).map_err(|error| ServeError::Open {
            role: "token file",
            address: path.display().to_string(),
            source: error.into(),
        })?;
        let token = text.expose_secret().trim();
        if token.len() < SHORTEST || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let message =
                format!("the token in {} must be {SHORTEST} or more visible ASCII characters", path.display());
            return Err(ServeError::Config(message));
        }
        Ok(Self(token.to_owned().into()))
    }

    /// The token itself, for a file or a header; never for a log.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Passes a request with `Authorization: Bearer TOKEN`. Takes the same time however much of a wrong token is right.
    ///
    /// # Errors
    /// [`Unauthorized`] without the header, with two of them, or with another token.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), Unauthorized> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return Err(Unauthorized) };
        let (scheme, given) = value.as_bytes().split_at_checked(7).ok_or(Unauthorized)?;
        let equal: bool = given.ct_eq(self.expose().as_bytes()).into();
        (scheme.eq_ignore_ascii_case(b"bearer ") && equal).then_some(()).ok_or(Unauthorized)
    }
}

impl IntoResponse for Unauthorized {
    fn into_response(self) -> Response {
        let message = "the token is missing or wrong; send `Authorization: Bearer TOKEN`";
        let mut response = ApiError::new(StatusCode::UNAUTHORIZED, message).into_response();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}

/// The `host:port` names under which a page is served. A page of another site cannot pass for ours, even when its name has been
/// pointed at our address.
#[derive(Debug, Clone)]
pub struct Site(Vec<String>);

impl Site {
    /// `127.0.0.1`, `[::1]` and `localhost` at this port.
    pub fn loopback(port: u16) -> Self {
        Self(LOOPBACK.iter().map(|host| format!("{host}:{port}")).collect())
    }

    /// One more `host:port`, such as the address of a front door.
    #[must_use]
    pub fn allow(mut self, authority: &str) -> Self {
        self.0.push(authority.to_ascii_lowercase());
        self
    }

    /// Passes a request that names us: one `Host` header, and the same in an absolute target. For every route, before all else.
    ///
    /// # Errors
    /// 400 without a single `Host`, 421 for another host.
    pub fn check_host(&self, request: &Parts) -> Result<(), ApiError> {
        let host = single(&request.headers, &HOST)?
            .ok_or_else(|| ApiError::bad_request("the Host header is missing; send one"))?;
        let target = request.uri.authority().map(|authority| authority.as_str());
        if self.is_ours(host) && target.is_none_or(|target| target.eq_ignore_ascii_case(host)) {
            return Ok(());
        }
        let message =
            format!("this host is not served here; use http://{}/", self.0.first().map_or("", String::as_str));
        Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, message))
    }

    /// Passes a request that no other site's page can have caused: its `Origin` is absent or ours, its `Sec-Fetch-Site` absent,
    /// `same-origin` or `none`. For everything that changes state, whatever its method; after [`Self::check_host`].
    ///
    /// # Errors
    /// 403 for a foreign page.
    pub fn check_origin(&self, request: &Parts) -> Result<(), ApiError> {
        let origin = single(&request.headers, &ORIGIN)?;
        let ours = origin.is_none_or(|origin| origin.strip_prefix("http://").is_some_and(|host| self.is_ours(host)));
        let fetched = single(&request.headers, &SEC_FETCH_SITE)?;
        if ours && fetched.is_none_or(|site| matches!(site, "same-origin" | "none")) {
            return Ok(());
        }
        Err(ApiError::new(StatusCode::FORBIDDEN, "a page of another site may not do this; open ours"))
    }

    fn is_ours(&self, authority: &str) -> bool {
        self.0.iter().any(|allowed| allowed.eq_ignore_ascii_case(authority))
    }
}

/// True when a browser's page sent the request; programs send neither header.
pub(crate) fn is_from_page(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) || headers.contains_key(SEC_FETCH_SITE)
}

/// Passes a page's request that changes state when the page is one of the host that it calls, and that host, for a `local` listener,
/// a name of this machine: another one may have been pointed at it by its owner.
pub(crate) fn check_page(request: &Parts, local: bool) -> Result<(), ApiError> {
    let host = single(&request.headers, &HOST)?
        .ok_or_else(|| ApiError::bad_request("the Host header is missing; send one"))?;
    let port = host.parse::<Authority>().ok().and_then(|authority| authority.port_u16());
    let site = match (local, port) {
        (false, _) => Site(vec![host.to_owned()]),
        (true, Some(port)) => Site::loopback(port),
        (true, None) => Site(LOOPBACK.map(str::to_owned).to_vec()),
    };
    site.check_host(request)?;
    site.check_origin(request)
}

/// The value of a header that may come once.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().map(Some).map_err(|_| ApiError::bad_request(format!("the {name} header is not plain text")))
        }
        (Some(_), Some(_)) => {
            Err(ApiError::bad_request(format!("the {name} header is given more than once; give it once")))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use rstest::rstest;

    use super::*;

    fn head(target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method("POST").uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a valid head").into_parts().0
    }

    #[rstest]
    #[case::ours("/", &[("host", "127.0.0.1:8080")], 200)]
    #[case::ours_by_name("/", &[("host", "localhost:8080"), ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")], 200)]
    #[case::ipv6_literal("/", &[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")], 200)]
    #[case::uppercase("/", &[("host", "LOCALHOST:8080")], 200)]
    #[case::typed_by_hand("/", &[("host", "localhost:8080"), ("sec-fetch-site", "none")], 200)]
    #[case::absolute_form("http://localhost:8080/", &[("host", "localhost:8080")], 200)]
    #[case::front_door("/", &[("host", "lab.test:9000")], 200)]
    #[case::evil_host("/", &[("host", "evil.example:8080")], 421)]
    #[case::missing_host("/", &[], 400)]
    #[case::two_hosts("/", &[("host", "localhost:8080"), ("host", "evil.example")], 400)]
    #[case::other_port("/", &[("host", "localhost:8081")], 421)]
    #[case::no_port("/", &[("host", "localhost")], 421)]
    #[case::trailing_dot("/", &[("host", "localhost.:8080")], 421)]
    #[case::user_info("/", &[("host", "localhost:8080@evil.example")], 421)]
    #[case::evil_absolute_form("http://evil.example/", &[("host", "localhost:8080")], 421)]
    #[case::evil_origin("/", &[("host", "localhost:8080"), ("origin", "http://evil.example")], 403)]
    #[case::null_origin("/", &[("host", "localhost:8080"), ("origin", "null")], 403)]
    #[case::https_origin("/", &[("host", "localhost:8080"), ("origin", "https://localhost:8080")], 403)]
    #[case::origin_of_other_port("/", &[("host", "localhost:8080"), ("origin", "http://localhost:1")], 403)]
    #[case::cross_site_get("/", &[("host", "localhost:8080"), ("sec-fetch-site", "cross-site")], 403)]
    #[case::same_site("/", &[("host", "localhost:8080"), ("sec-fetch-site", "same-site")], 403)]
    fn hosts_and_origins(#[case] target: &str, #[case] headers: &[(&str, &str)], #[case] status: u16) {
        let site = Site::loopback(8080).allow("Lab.test:9000");
        let request = head(target, headers);
        let answer = site.check_host(&request).and_then(|()| site.check_origin(&request));
        assert_eq!(answer.map_or_else(|error| error.status().as_u16(), |()| 200), status);
    }

    #[rstest]
    #[case(&["Bearer 0123456789abcdef"], true)]
    #[case(&["bearer 0123456789abcdef"], true)]
    #[case(&[], false)]
    #[case(&[""], false)]
    #[case(&["Bearer "], false)]
    #[case(&["Basic  0123456789abcdef"], false)]
    #[case(&["Bearer 0123456789abcdeF"], false)]
    #[case(&["Bearer 0123456789abcde"], false)]
    #[case(&["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"], false)]
    fn tokens(#[case] given: &[&'static str], #[case] passes: bool) {
        let token = Token("0123456789abcdef".to_owned().into());
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        assert_eq!(token.check(&headers).is_ok(), passes);
    }

    #[test]
    fn tokens_come_from_the_system_or_a_file() {
        let (one, other) = (Token::generate().expect("randomness"), Token::generate().expect("randomness"));
        assert!(one.expose().len() == 64 && one.expose() != other.expose());
        assert_eq!(format!("{one:?}"), "Token(hidden)");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        assert!(matches!(Token::from_file(&path), Err(ServeError::Open { .. })));
        std::fs::write(&path, "short\n").expect("write");
        assert!(matches!(Token::from_file(&path), Err(ServeError::Config(_))));
        std::fs::write(&path, format!("{}\n", one.expose())).expect("write");
        assert_eq!(Token::from_file(&path).expect("a good token").expose(), one.expose());
    }
}
