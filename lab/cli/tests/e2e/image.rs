//! `lab image` against the Docker of this machine: what is packed runs where it may do next to nothing. Without Docker these tests say
//! that they skip, or fail when `LAB_REQUIRE` contains `docker`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::bench::{Bench, stderr, stdout, until};

fn docker(args: &[&str]) -> Output {
    Command::new("docker").args(args).stdin(Stdio::null()).output().expect("the client of Docker runs")
}

/// What a call of Docker's client prints.
fn asked(args: &[&str]) -> String {
    let output = docker(args);
    assert!(output.status.success(), "docker {args:?}: {}", stderr(&output));
    stdout(&output).trim().to_owned()
}

fn no_docker(test: &str) -> bool {
    let version = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    if version.is_ok_and(|output| output.status.success()) {
        return false;
    }
    let required = std::env::var("LAB_REQUIRE").unwrap_or_default();
    assert!(!required.contains("docker"), "no Docker here, and LAB_REQUIRE wants it");
    // Past the test harness, which shows what a passing test prints to nobody.
    let line = format!("SKIPPED, NOT TESTED: {test} (no Docker here)\n");
    std::io::stderr().write_all(line.as_bytes()).expect("stderr");
    true
}

/// Removed at the end of its test, also of one that failed.
struct Removed(&'static str, String);

impl Drop for Removed {
    fn drop(&mut self) {
        docker(&[self.0, "rm", "-f", &self.1]);
    }
}

/// The binary under test as a build of its own, so that its image belongs to one test. What differs is a field of the ELF header that
/// nobody reads on this architecture.
fn build(bench: &Bench, number: u8) -> PathBuf {
    const FLAGS: usize = 0x30;
    let mut bytes = std::fs::read(env!("CARGO_BIN_EXE_lab")).expect("the binary");
    let unique = std::process::id().to_le_bytes();
    bytes[FLAGS..FLAGS + 4].copy_from_slice(&[unique[0], unique[1], unique[2], number]);
    let path = bench.path().join(format!("lab-{number}"));
    let written = bench.path().join(format!("bytes-{number}"));
    std::fs::write(&written, bytes).expect("a copy");
    // Put in place by another process: a child that another test forks meanwhile would keep what we wrote busy.
    assert!(Command::new("cp").args([&written, &path]).status().expect("cp").success());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
    path
}

fn run(bench: &Bench, build: &PathBuf, args: &[&str]) -> Output {
    let mut command = Command::new(build);
    command.args(args).current_dir(bench.path()).stdin(Stdio::null());
    command.env("LAB_HOME", bench.path().join("home")).env_remove("LAB_IMAGE_LAB");
    command.output().expect("the copy runs")
}

fn packed(bench: &Bench, build: &PathBuf) -> Value {
    let output = run(bench, build, &["image", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().expect("a text").to_owned()
}

/// The head of the answer, None as long as nobody answers.
fn get(address: &str, path: &str) -> Option<String> {
    let address = address.parse().expect("an address");
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_service_runs_in_its_image_with_no_right_at_all() {
    if no_docker("a_service_runs_in_its_image_with_no_right_at_all") {
        return;
    }
    let bench = Bench::new();
    let build = build(&bench, 1);
    let first = packed(&bench, &build);
    let tag = text(&first, "tag");
    let _image = Removed("image", tag.clone());
    assert_eq!(first["packed"], true, "{first}");
    let second = packed(&bench, &build);
    assert_eq!((&second["packed"], &second["id"]), (&false.into(), &first["id"]));

    let rights = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let name = format!("lab-test-{}-image", std::process::id());
    let _container = Removed("container", name.clone());
    let service = [&*tag, "serve", "user-service", "--store", "memory:", "--listen", "0.0.0.0:8080"];
    asked(&[&["run", "-d", "--name", &name, "--tmpfs", "/tmp"], &rights[..], &service[..]].concat());
    let address = format!("{}:8080", asked(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", &name]));
    let ready = until(Duration::from_secs(20), || get(&address, "/readyz").filter(|head| head.contains(" 200 ")));
    assert!(ready.is_some(), "never ready: {:?}", docker(&["logs", &name]));

    let users = asked(&["top", &name, "-o", "pid,uid"]);
    assert!(users.lines().skip(1).all(|line| line.split_whitespace().nth(1) == Some("65532")), "{users}");
    for shell in ["sh", "/bin/sh", "bash", "busybox"] {
        let output = docker(&["exec", &name, shell, "-c", "true"]);
        assert!(!output.status.success(), "there is a {shell} inside");
    }
    assert!(asked(&["exec", &name, "/bin/lab", "--version"]).starts_with("lab "));
}

#[test]
fn clean_removes_images_of_earlier_builds_that_nothing_uses() {
    if no_docker("clean_removes_images_of_earlier_builds_that_nothing_uses") {
        return;
    }
    let bench = Bench::new();
    let builds: Vec<PathBuf> = (2..=4).map(|number| build(&bench, number)).collect();
    let tags: Vec<String> = builds.iter().map(|build| text(&packed(&bench, build), "tag")).collect();
    let _images: Vec<Removed> = tags.iter().map(|tag| Removed("image", tag.clone())).collect();
    let [old, used, present] = &*tags else { panic!("three builds: {tags:?}") };
    let name = format!("lab-test-{}-clean", std::process::id());
    let _container = Removed("container", name.clone());
    asked(&["create", "--name", &name, used, "serve", "user-service"]);
    let stranger = Bench::new();
    assert!(!stdout(&run(&stranger, &builds[2], &["clean"])).contains("image"), "they are not a stranger's");

    let there = |tag: &str| docker(&["image", "inspect", tag]).status.success();
    let dry = run(&bench, &builds[2], &["clean", "--dry-run"]);
    assert_eq!((stdout(&dry), there(old)), (format!("image {old}\n"), true), "{}", stderr(&dry));
    let clean = run(&bench, &builds[2], &["clean"]);
    assert_eq!(stdout(&clean), format!("image {old} removed\n"), "{}", stderr(&clean));
    assert_eq!(clean.status.code(), Some(0));
    assert_eq!([there(old), there(used), there(present)], [false, true, true]);
    let again = run(&bench, &builds[2], &["clean"]);
    assert!(stderr(&again).contains("nothing was left behind"), "{}", stderr(&again));
}

#[test]
fn a_docker_that_is_away_and_an_image_that_is_not_there_are_told_with_the_remedy() {
    let bench = Bench::new();
    let mut away = bench.lab(&["image"]);
    let away = away.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().expect("the binary runs");
    assert_eq!(away.status.code(), Some(3));
    assert!(stderr(&away).contains("install Docker") && stdout(&away).is_empty(), "{}", stderr(&away));
    let mut clean = bench.lab(&["clean"]);
    let clean = clean.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().expect("the binary runs");
    assert_eq!(clean.status.code(), Some(0), "{}", stderr(&clean));
    if no_docker("an image that is given and not there") {
        return;
    }
    let given = bench.lab(&["image"]).env("LAB_IMAGE_LAB", "lab:not-there").output().expect("the binary runs");
    assert_eq!(given.status.code(), Some(3));
    assert!(stderr(&given).contains("services/Dockerfile"), "{}", stderr(&given));
}
