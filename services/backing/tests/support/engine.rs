//! Real engines for tests, each in a container: found by image, started on a loopback port, gone with the test process however that ends.
//! [`shared`] is one container for all tests of a binary (give each test a database, queue or prefix of its own);
//! [`alone`] is a container for one test that kills or pauses it. Both are None when Docker or the image is missing:
//! the test then says so and skips, or fails when `LAB_REQUIRE` contains `docker`.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The password of every engine that asks for one. It may stand in no error, log or Debug output.
pub const PASSWORD: &str = "not-to-be-seen";

/// How an engine is started and how it shows that it answers.
pub struct Kind {
    /// `testbed/NAME` is its image unless `LAB_IMAGE_NAME` says otherwise.
    pub name: &'static str,
    port: u16,
    /// `NAME=value`, given the published port.
    environment: fn(u16) -> Vec<String>,
    arguments: &'static [&'static str],
    hello: &'static [u8],
    /// Whether these first bytes of the answer to `hello` come from an engine that takes calls.
    ready: fn(&[u8]) -> bool,
}

/// User `postgres`, database `postgres`.
pub const POSTGRES: Kind = Kind {
    name: "postgres",
    port: 5432,
    environment: |_| vec![format!("POSTGRES_PASSWORD={PASSWORD}")],
    arguments: &[],
    // A startup message; while it still recovers the server answers with an error, later by asking for a password.
    hello: b"\0\0\0\x17\0\x03\0\0user\0postgres\0\0",
    ready: |answer| answer.first() == Some(&b'R'),
};

/// User `root`, database `lab`.
pub const MYSQL: Kind = Kind {
    name: "mysql",
    port: 3306,
    environment: |_| vec![format!("MYSQL_ROOT_PASSWORD={PASSWORD}"), "MYSQL_DATABASE=lab".to_owned()],
    arguments: &[],
    hello: b"",
    // The server greets, with protocol version 10 behind the packet's header.
    ready: |answer| answer.get(4) == Some(&10),
};

/// No login: FerretDB 1 does not end the exchange as the driver of MongoDB 3 asks it to, so that no password is right to it.
pub const MONGO: Kind = Kind {
    name: "mongo",
    port: 27017,
    environment: |_| Vec::new(),
    arguments: &[],
    // OP_MSG with {ping: 1, $db: "admin"}; an answer of any content has opcode 2013.
    hello: b"\x33\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\
             \x1e\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0",
    ready: |answer| answer.get(12..14) == Some(b"\xdd\x07"),
};

/// With a login that is always refused, for which see [`MONGO`].
pub const MONGO_REFUSING: Kind = Kind {
    environment: |_| {
        vec!["MONGO_INITDB_ROOT_USERNAME=lab".to_owned(), format!("MONGO_INITDB_ROOT_PASSWORD={PASSWORD}")]
    },
    ..MONGO
};

/// Any credentials (letters and digits only), any region.
pub const DYNAMODB: Kind = Kind {
    name: "dynamodb",
    port: 8000,
    environment: |_| Vec::new(),
    arguments: &["-jar", "DynamoDBLocal.jar", "-inMemory", "-sharedDb"],
    // Not signed, so refused: by an engine that is up.
    hello: b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: DynamoDB_20120810.ListTables\r\n\
             Content-Type: application/x-amz-json-1.0\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
    ready: |answer| answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 2"),
};

/// Password only.
pub const REDIS: Kind = Kind {
    name: "redis",
    port: 6379,
    environment: |_| Vec::new(),
    arguments: &["--requirepass", PASSWORD],
    hello: b"PING\r\n",
    ready: |answer| answer.starts_with(b"-NOAUTH") || answer.starts_with(b"+PONG"),
};

/// User `lab`, vhost `/`.
pub const RABBITMQ: Kind = Kind {
    name: "rabbitmq",
    port: 5672,
    environment: |_| vec!["RABBITMQ_DEFAULT_USER=lab".to_owned(), format!("RABBITMQ_DEFAULT_PASS={PASSWORD}")],
    arguments: &[],
    hello: b"AMQP\0\0\x09\x01",
    // A method frame on channel 0: Connection.Start.
    ready: |answer| answer.starts_with(&[1, 0, 0]),
};

/// No credentials; advertises the published port, so clients on this machine find it.
pub const KAFKA: Kind = Kind {
    name: "kafka",
    port: 9092,
    environment: kafka_environment,
    arguments: &[],
    // ApiVersions, version 0, correlation 7, no client id.
    hello: b"\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff",
    ready: |answer| answer.get(4..10) == Some(&[0, 0, 0, 7, 0, 0]),
};

/// Any credentials, any region.
pub const SQS: Kind = Kind {
    name: "sqs",
    port: 9324,
    environment: |_| Vec::new(),
    arguments: &[],
    hello: b"GET /?Action=ListQueues HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ready: |answer| answer.starts_with(b"HTTP/1.1 200"),
};

/// As [`SQS`], but a message is on disk before it is answered. A restart keeps the container's files.
pub const SQS_ON_DISK: Kind = Kind {
    arguments: &[
        "-Dmessages-storage.enabled=true",
        "-Dmessages-storage.driver-class=org.h2.Driver",
        // Otherwise H2 writes within half a second, and what was answered last is lost.
        "-Dmessages-storage.uri=jdbc:h2:/tmp/messages;WRITE_DELAY=0",
        "-Dmessages-storage.username=sa",
        "-Dmessages-storage.password=",
    ],
    ..SQS
};

fn kafka_environment(port: u16) -> Vec<String> {
    let listeners = "INTERNAL://:29092,EXTERNAL://:9092,CONTROLLER://:9093";
    let advertised = format!("INTERNAL://localhost:29092,EXTERNAL://127.0.0.1:{port}");
    [
        ("NODE_ID", "1"),
        ("PROCESS_ROLES", "broker,controller"),
        ("CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("LISTENERS", listeners),
        ("ADVERTISED_LISTENERS", &advertised),
        ("LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT"),
        ("INTER_BROKER_LISTENER_NAME", "INTERNAL"),
        ("OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
        // What a killed consumer had comes back sooner than the 6 seconds that are the default.
        ("GROUP_MIN_SESSION_TIMEOUT_MS", "1500"),
        ("LOG_DIRS", "/var/lib/kafka/data"),
    ]
    .map(|(name, value)| format!("KAFKA_{name}={value}"))
    .into()
}

/// How long an engine may take until it answers, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A running engine. Dropped: its container is removed.
pub struct Engine {
    kind: &'static Kind,
    container: String,
    port: u16,
    // Removes the container when its input closes, which the kernel sees to when this process dies.
    remover: Child,
}

/// The container of this kind that all tests of this binary share. Blocks until it answers.
pub fn shared(kind: &'static Kind) -> Option<&'static Engine> {
    static STARTED: Mutex<Option<HashMap<&'static str, &'static Engine>>> = Mutex::new(None);
    // Held while one starts: the other tests want the same container.
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let started = started.get_or_insert_default();
    if let Some(engine) = started.get(kind.name) {
        return Some(*engine);
    }
    let engine: &'static Engine = Box::leak(Box::new(alone(kind)?));
    started.insert(kind.name, engine);
    Some(engine)
}

/// A container for one test. Blocks until it answers.
pub fn alone(kind: &'static Kind) -> Option<Engine> {
    let image = image(kind);
    if !docker(&["image", "inspect", "--format", "ok", &image]).is_ok_and(|answer| answer.trim() == "ok") {
        let missing = format!("no Docker here, or no image {image}");
        let required = std::env::var("LAB_REQUIRE").unwrap_or_default();
        assert!(!required.contains("docker"), "{missing}, and LAB_REQUIRE wants it");
        // Past the test harness, which shows what a passing test prints to nobody.
        let line = format!("SKIPPED, NOT TESTED: {} ({missing})\n", kind.name);
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return None;
    }
    Some(Engine::start(kind, &image))
}

fn image(kind: &Kind) -> String {
    let variable = format!("LAB_IMAGE_{}", kind.name.to_uppercase());
    std::env::var(variable).unwrap_or_else(|_| format!("testbed/{}", kind.name))
}

fn docker(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(arguments).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

impl Engine {
    fn start(kind: &'static Kind, image: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        for _ in 0..5 {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let container = format!("lab-test-{}-{number}-{}", std::process::id(), kind.name);
            let remover = remover(&container);
            // Fixed, so that the engine has the same address after a restart; Docker says so when somebody was faster.
            let port = free_port();
            let engine = Self { kind, container, port, remover };
            match engine.run(image) {
                Ok(()) => {
                    engine.wait_until_ready();
                    return engine;
                }
                Err(said) if said.contains("port is already allocated") || said.contains("address already in use") => {}
                Err(said) => panic!("{image} does not start: {said}"),
            }
        }
        panic!("{image} does not start: five ports that were free are taken");
    }

    fn run(&self, image: &str) -> Result<(), String> {
        let label = format!("lab.test={}", std::process::id());
        let publish = format!("127.0.0.1:{}:{}", self.port, self.kind.port);
        let environment = (self.kind.environment)(self.port);
        let mut arguments = vec!["run", "-d", "--name", &self.container, "--label", &label, "-p", &publish];
        arguments.extend(environment.iter().flat_map(|variable| ["-e", variable]));
        arguments.push(image);
        arguments.extend(self.kind.arguments);
        docker(&arguments).map(drop)
    }

    /// `127.0.0.1:PORT`; the same after a restart.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGKILL. Nothing listens until [`Self::restart`].
    pub fn kill(&self) {
        docker(&["kill", &self.container]).unwrap();
    }

    /// Starts it again with the data it had, and waits until it answers.
    pub fn restart(&self) {
        docker(&["start", &self.container]).unwrap();
        self.wait_until_ready();
    }

    /// Freezes it: connections stay, nothing answers.
    pub fn pause(&self) {
        docker(&["pause", &self.container]).unwrap();
    }

    /// Undoes [`Self::pause`].
    pub fn unpause(&self) {
        docker(&["unpause", &self.container]).unwrap();
    }

    #[allow(clippy::disallowed_methods, reason = "an engine that starts offers only polling")]
    fn wait_until_ready(&self) {
        let until = Instant::now() + READY_WITHIN;
        while !self.answers() {
            let log = || docker(&["logs", "--tail", "30", &self.container]);
            assert!(Instant::now() < until, "{} did not answer in {READY_WITHIN:?}: {:?}", self.container, log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let patience = Duration::from_secs(2);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let Ok(mut stream) = TcpStream::connect_timeout(&address, patience) else { return false };
        stream.set_read_timeout(Some(patience)).unwrap();
        if stream.write_all(self.kind.hello).is_err() {
            return false;
        }
        let mut answer = Vec::new();
        let mut part = [0; 256];
        loop {
            match stream.read(&mut part) {
                Ok(0) => return false,
                Ok(length) => answer.extend_from_slice(&part[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
            if (self.kind.ready)(&answer) {
                return true;
            }
        }
    }
}

/// A shell that waits for the end of its input, then removes the container. In a group of its own, so that Ctrl-C passes it by.
fn remover(container: &str) -> Child {
    // Again, for a container that Docker was just making.
    let script =
        "read -r _; for _ in 1 2 3; do docker rm -f -v \"$0\" 2>&1 | grep -q 'No such' || exit 0; sleep 1; done";
    Command::new("sh")
        .args(["-c", script, container])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        drop(self.remover.wait());
    }
}
