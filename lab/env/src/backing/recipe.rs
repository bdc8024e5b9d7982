//! How each server is started from its image: a row an engine. Images are the official ones unless `LAB_IMAGE_…` says otherwise; what a row
//! relies on holds for them and for images that take the same variables.

use lab_core::spec::Server;
use lab_core::unit::Bytes;

const MIB: u64 = 1 << 20;

/// What does not depend on the lab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    /// The image, where `variable` names none.
    pub(crate) image: &'static str,
    /// The variable that names another image.
    pub(crate) variable: &'static str,
    /// Where services reach it.
    pub(crate) port: u16,
    /// Where this machine reaches it, when that is another: a server that tells its clients where to go tells each the right thing.
    pub(crate) host_port: Option<u16>,
    /// What a kill may not lose lies there, on a volume. None: nothing, or in the container, which stays as it is while it is not removed.
    pub(crate) data: Option<&'static str>,
    /// Most memory. A server that needs more than this for the loads of a laptop is broken.
    pub(crate) memory: Bytes,
}

/// What depends on the lab.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs<'a> {
    /// For servers that ask for one.
    pub(crate) password: &'a str,
    /// `host:port` that services reach it by.
    pub(crate) services: &'a str,
    /// `host:port` that this machine reaches it by.
    pub(crate) machine: &'a str,
    /// Whether a kill may come, after which all must be there again. Stand-ins are some ten times slower when they keep what they have.
    pub(crate) keeps: bool,
}

/// What a container is started with.
#[derive(Clone, Default)]
pub(crate) struct Started {
    pub(crate) env: Vec<(String, String)>,
    pub(crate) args: Vec<String>,
    /// A file that it reads: its text, and where it appears.
    pub(crate) file: Option<(String, &'static str)>,
}

/// The row of a server.
pub(crate) fn recipe(server: Server) -> Recipe {
    let row = |image, variable, port, host_port, data, mib: u64| Recipe {
        image,
        variable,
        port,
        host_port,
        data,
        memory: Bytes(mib * MIB),
    };
    match server {
        Server::Postgres => {
            row("postgres:17", "LAB_IMAGE_POSTGRES", 5432, None, Some("/var/lib/postgresql/data"), 1024)
        }
        Server::Mysql => row("mysql:8.4", "LAB_IMAGE_MYSQL", 3306, None, Some("/var/lib/mysql"), 1536),
        Server::Mongodb => row("mongo:8", "LAB_IMAGE_MONGO", 27017, None, Some("/data/db"), 1536),
        Server::Dynamodb => row("amazon/dynamodb-local:3", "LAB_IMAGE_DYNAMODB", 8000, None, None, 1536),
        Server::Rabbitmq => {
            row("rabbitmq:4-management", "LAB_IMAGE_RABBITMQ", 5672, None, Some("/var/lib/rabbitmq"), 1536)
        }
        Server::Kafka => row("apache/kafka:4", "LAB_IMAGE_KAFKA", 9092, Some(29092), Some("/var/lib/kafka/data"), 2048),
        Server::Sqs => row("softwaremill/elasticmq-native:1", "LAB_IMAGE_SQS", 9324, None, None, 768),
        Server::Redis => row("redis:8", "LAB_IMAGE_REDIS", 6379, None, None, 512),
    }
}

/// The address of a server at `host` (`host:port`), as its driver wants it.
pub(crate) fn address(server: Server, host: &str, password: &str) -> String {
    match server {
        Server::Postgres => format!("postgres://lab:{password}@{host}/lab"),
        Server::Mysql => format!("mysql://lab:{password}@{host}/lab"),
        // Without a login: servers that stand in for MongoDB do not end the exchange as its driver asks them to. It is reached from the
        // lab's own network and this machine only, as those that know no login at all.
        Server::Mongodb => format!("mongodb://{host}/lab"),
        Server::Dynamodb => format!("dynamodb://{host}/lab"),
        Server::Rabbitmq => format!("amqp://lab:{password}@{host}/%2f"),
        Server::Kafka => format!("kafka://{host}"),
        Server::Sqs => format!("sqs://{host}/lab"),
        Server::Redis => format!("redis://:{password}@{host}/0"),
    }
}

/// Variables, arguments and file of a server.
pub(crate) fn started(server: Server, needs: Needs<'_>) -> Started {
    let Needs { password, .. } = needs;
    let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let args = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<String>>();
    match server {
        Server::Postgres => Started {
            env: env(&[
                ("POSTGRES_USER", "lab"),
                ("POSTGRES_PASSWORD", password),
                ("POSTGRES_DB", "lab"),
                // Below the volume, whose own folder may hold what a file system puts there.
                ("PGDATA", "/var/lib/postgresql/data/pgdata"),
            ]),
            ..Started::default()
        },
        Server::Mysql => Started {
            env: env(&[
                ("MYSQL_ROOT_PASSWORD", password),
                ("MYSQL_USER", "lab"),
                ("MYSQL_PASSWORD", password),
                ("MYSQL_DATABASE", "lab"),
            ]),
            ..Started::default()
        },
        Server::Mongodb => Started::default(),
        // One database for all credentials and regions.
        Server::Dynamodb => {
            let kept: &[&str] = if needs.keeps { &["-dbPath", "/tmp"] } else { &["-inMemory"] };
            let args = [args(&["-jar", "DynamoDBLocal.jar", "-sharedDb"]), args(kept)].concat();
            Started { args, ..Started::default() }
        }
        Server::Rabbitmq => Started {
            env: env(&[
                ("RABBITMQ_DEFAULT_USER", "lab"),
                ("RABBITMQ_DEFAULT_PASS", password),
                // Its data belongs to this name, which may not change with the container's.
                ("RABBITMQ_NODENAME", "rabbit@localhost"),
            ]),
            ..Started::default()
        },
        Server::Kafka => Started { env: kafka(needs), ..Started::default() },
        Server::Sqs => {
            let kept = if needs.keeps { ELASTICMQ_KEEPS } else { "" };
            Started { file: Some((format!("{ELASTICMQ}{kept}"), "/opt/elasticmq.conf")), ..Started::default() }
        }
        Server::Redis => Started {
            // In a file: arguments can be seen by all. Nothing is saved: a cache need not outlive its server.
            args: args(&["redis-server", "--save", "", "--appendonly", "no", "--include", "/lab.conf"]),
            file: Some((format!("requirepass {password}\n"), "/lab.conf")),
            ..Started::default()
        },
    }
}

/// Queue URLs name the host that the client asked.
const ELASTICMQ: &str = r#"include classpath("application.conf")
node-address.host = "*"
rest-sqs { enabled = true, bind-port = 9324, bind-hostname = "0.0.0.0", sqs-limits = strict }
rest-stats.enabled = false
"#;

/// Queues and messages in a file, written before they are answered: half a second later a kill would lose them.
const ELASTICMQ_KEEPS: &str = r#"messages-storage {
  enabled = true
  driver-class = "org.h2.Driver"
  uri = "jdbc:h2:/tmp/elasticmq;WRITE_DELAY=0"
  username = "sa"
  password = ""
}
"#;

/// One node; a listener for the lab's network and one for this machine, each advertised as it is reached.
fn kafka(needs: Needs<'_>) -> Vec<(String, String)> {
    let advertised = format!("NET://{},HOST://{}", needs.services, needs.machine);
    let properties = [
        ("NODE_ID", "1"),
        ("PROCESS_ROLES", "broker,controller"),
        ("CONTROLLER_QUORUM_VOTERS", "1@localhost:9093"),
        ("CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("LISTENERS", "NET://:9092,HOST://:29092,CONTROLLER://:9093"),
        ("ADVERTISED_LISTENERS", &advertised),
        ("LISTENER_SECURITY_PROTOCOL_MAP", "CONTROLLER:PLAINTEXT,NET:PLAINTEXT,HOST:PLAINTEXT"),
        ("INTER_BROKER_LISTENER_NAME", "NET"),
        ("LOG_DIRS", "/var/lib/kafka/data"),
        ("OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
        ("SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
        // The first consumers need not wait for others.
        ("GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    ];
    properties.map(|(name, value)| (format!("KAFKA_{name}"), value.to_owned())).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backing::Spot;

    const NEEDS: Needs<'_> =
        Needs { password: "hush", services: "kafka:9092", machine: "127.0.0.1:19092", keeps: true };

    #[test]
    fn every_server_has_an_address_that_can_be_read_and_no_secret_argument() {
        for server in Server::ALL {
            let recipe = recipe(server);
            let address = address(server, &format!("{}:{}", server.engine(), recipe.port), NEEDS.password);
            assert!(address.starts_with(server.engine()) || server == Server::Rabbitmq, "{address}");
            assert_eq!(Spot::of(&address).unwrap().single(0), Some((server.engine(), recipe.port)));
            let started = started(server, NEEDS);
            assert!(started.args.iter().all(|arg| !arg.contains("hush")), "{server}");
            assert!(recipe.variable.starts_with("LAB_IMAGE_") && recipe.image.contains(':'), "{server}");
        }
    }

    #[test]
    fn kafka_tells_each_side_where_it_is() {
        let env = started(Server::Kafka, NEEDS).env;
        let advertised = env.iter().find(|(name, _)| name == "KAFKA_ADVERTISED_LISTENERS").unwrap();
        assert_eq!(advertised.1, "NET://kafka:9092,HOST://127.0.0.1:19092");
    }

    #[test]
    fn stand_ins_keep_what_they_have_when_a_kill_may_come() {
        let of = |server, keeps| started(server, Needs { keeps, ..NEEDS });
        assert!(of(Server::Dynamodb, true).args.iter().any(|arg| arg == "-dbPath"));
        assert!(of(Server::Dynamodb, false).args.iter().any(|arg| arg == "-inMemory"));
        let conf = |keeps| of(Server::Sqs, keeps).file.unwrap().0;
        assert!(conf(true).contains("WRITE_DELAY=0") && !conf(false).contains("messages-storage"));
    }
}
