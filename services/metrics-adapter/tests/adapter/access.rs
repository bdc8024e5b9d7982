//! Who is let in, and who is not.

use std::time::Duration;

use futures_util::future::join_all;
use rstest::rstest;
use rustls::ALL_VERSIONS;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::papers::{Authority, FRONT_PROXY, Papers};
use crate::rig::{ROOT, Rig, get_as};

#[tokio::test]
async fn the_front_proxy_discovers_the_group() {
    let rig = Rig::new(&[]).await;
    let (status, body) = rig.get(ROOT).await;
    assert_eq!(status, 200);
    assert!(body.starts_with(r#"{"kind":"APIResourceList","apiVersion":"v1","#), "{body}");
    assert_eq!(rig.get("/apis").await.0, 406, "and not 503, which would stop the deletion of namespaces");
}

#[tokio::test]
async fn discovery_answers_five_at_once_beside_callers_who_say_nothing() {
    let rig = Rig::new(&[]).await;
    let silent = join_all((0..100).map(|_| TcpStream::connect(rig.adapter.api))).await;
    let api_server = rig.api_server();
    let five = join_all((0..5).map(|_| get_as(rig.adapter.api, api_server.clone(), ROOT, ""))).await;
    let statuses: Vec<_> = five.into_iter().map(|answer| answer.expect("an answer").0).collect();
    assert_eq!(statuses, [200; 5]);
    assert!(silent.iter().all(Result::is_ok));
}

type Shown = fn(&Rig) -> Option<Papers>;

#[rstest]
#[case::nothing(|_: &Rig| None)]
#[case::of_another_authority(|_: &Rig| Some(Authority::new("front proxy authority").client(FRONT_PROXY)))]
#[case::of_the_authority_that_signed_our_own(|rig: &Rig| Some(rig.own.client(FRONT_PROXY)))]
#[case::with_another_name(|rig: &Rig| Some(rig.front_proxy.client("system:kube-scheduler")))]
#[case::for_servers(|rig: &Rig| Some(rig.front_proxy.server(FRONT_PROXY)))]
#[case::expired(|rig: &Rig| Some(rig.front_proxy.expired_client(FRONT_PROXY)))]
#[tokio::test]
async fn others_are_refused_in_the_handshake(#[case] shown: Shown) {
    let rig = Rig::new(&[]).await;
    // As one would say it who has only read the protocol, or found a token.
    let claims = "Authorization: Bearer 0123456789abcdef\r\nX-Remote-User: system:kube-controller-manager\r\nX-Remote-Group: system:masters\r\n";
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let caller = rig.own.caller(shown(&rig).as_ref(), versions);
        let refused = get_as(rig.adapter.api, caller, ROOT, claims).await;
        assert!(refused.is_err(), "{versions:?}: {refused:?}");
        let api_server = rig.own.caller(Some(&rig.front_proxy.client(FRONT_PROXY)), versions);
        let answered = get_as(rig.adapter.api, api_server, ROOT, "").await.expect("an answer");
        assert_eq!(answered.0, 200, "the same call with the right papers");
    }
}

#[tokio::test]
async fn plaintext_gets_no_answer() {
    let rig = Rig::new(&[]).await;
    let mut stream = TcpStream::connect(rig.adapter.api).await.expect("a connection");
    stream.write_all(format!("GET {ROOT} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.expect("an end in time");
    // An alert of TLS at most.
    assert!(read.is_err() || answer.first() != Some(&b'H'), "{:?}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn a_caller_that_does_not_trust_us_goes_away() {
    let rig = Rig::new(&[]).await;
    let papers = rig.front_proxy.client(FRONT_PROXY);
    let caller = Authority::new("own authority").caller(Some(&papers), ALL_VERSIONS);
    assert!(get_as(rig.adapter.api, caller, ROOT, "").await.is_err());
}

#[tokio::test]
async fn without_allowed_names_every_certificate_of_the_authority_passes() {
    let rig = Rig::with_names("[]", &[]).await;
    let caller = rig.own.caller(Some(&rig.front_proxy.client("any-name")), ALL_VERSIONS);
    assert_eq!(get_as(rig.adapter.api, caller, ROOT, "").await.expect("an answer").0, 200);
    let caller = rig.own.caller(None, ALL_VERSIONS);
    assert!(get_as(rig.adapter.api, caller, ROOT, "").await.is_err(), "but no certificate is none of them");
}
