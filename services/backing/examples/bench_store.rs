//! What the SQLite engines cost on this machine: `cargo run --release -p backing --example bench_store -- [DIRECTORY]`.
//! Prints one line a measurement; the first says what one fsync costs there, which bounds everything durable.

use std::error::Error;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use backing::queue::{self, Envelope};
use backing::store::{self, Idempotency, NewUser};
use backing::{MessageId, Queue, Store, UserId};
use futures_util::future::{join_all, try_join_all};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Handle};

type Outcome<T> = Result<T, Box<dyn Error>>;

const LENGTH: Duration = Duration::from_secs(3);
const CALLERS: usize = 64;
const SECOND_WRITER: &str = "--second-writer";

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    if let [flag, directory, start] = &arguments[..]
        && flag == SECOND_WRITER
    {
        return runtime.block_on(second_writer(Path::new(directory), start.parse()?));
    }
    let within = arguments.first().map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(within)?;
    fsyncs(directory.path())?;
    runtime.block_on(store_alone(directory.path()))?;
    runtime.block_on(two_processes(directory.path()))?;
    runtime.block_on(queue_alone(directory.path()))
}

fn fsyncs(directory: &Path) -> Outcome<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(directory.join("fsync"))?;
    let mut took = Vec::new();
    for _ in 0..500 {
        file.write_all(&[0; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        took.push(began.elapsed());
    }
    took.sort();
    println!("fsync of 4 KiB appended: median {:?}, p99 {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
    Ok(())
}

async fn store_at(directory: &Path) -> Outcome<Arc<dyn Store>> {
    let address = format!("sqlite:{}", directory.join("users.db").display());
    Ok(store::open(&address, store::Settings { deadline: Duration::from_secs(20), ..Default::default() }).await?)
}

fn user(number: usize) -> NewUser {
    NewUser { name: format!("user number {number}"), created_at: "2026-11-24T10:00:00Z".to_owned() }
}

async fn store_alone(directory: &Path) -> Outcome<()> {
    let store = store_at(directory).await?;
    let create = |number| {
        let store = store.clone();
        async move { store.create_user(user(number), None).await.map(drop) }
    };
    measure("creates, 1 caller", 1, &create).await?;
    measure("creates, 64 callers", CALLERS, &create).await?;
    measure("creates with a key, 64 callers", CALLERS, |number| {
        let (store, once) = (store.clone(), Idempotency::client(number.to_string(), b"body"));
        async move { store.create_user(user(number), Some(once)).await.map(drop) }
    })
    .await?;
    let users = store.count(store::Table::Users).await?;
    let read = |number: usize| {
        let store = store.clone();
        // A stride that visits all ids in no useful order.
        let id = UserId(1 + number as u64 * 7919 % users);
        async move { store.get_user(id).await.map(drop) }
    };
    measure("point reads on the caller's thread", 1, &read).await?;
    measure("point reads on a pool, 64 callers", CALLERS, |number| {
        let (read, here) = (read(number), Handle::current());
        async move { tokio::task::spawn_blocking(move || here.block_on(read)).await.unwrap_or(Ok(())) }
    })
    .await?;
    measure("creates and reads 1:4, 64 callers", CALLERS, |number| {
        let (create, read) = (create(number), read(number));
        async move { if number % 5 == 0 { create.await } else { read.await } }
    })
    .await?;
    Ok(store.close().await?)
}

/// Calls from `callers` at once for [`LENGTH`]; each waits for its answer before it calls again.
async fn measure<F, C>(what: &str, callers: usize, call: C) -> Outcome<f64>
where
    F: Future<Output = Result<(), backing::Error>>,
    C: Fn(usize) -> F,
{
    let (began, cpu) = (Instant::now(), cpu_time());
    let caller = async |caller: usize| {
        let mut took = Vec::new();
        while began.elapsed() < LENGTH {
            let sent = Instant::now();
            call(caller + took.len() * callers).await?;
            took.push(sent.elapsed());
        }
        Ok::<_, backing::Error>(took)
    };
    let mut took: Vec<_> = try_join_all((0..callers).map(caller)).await?.into_iter().flatten().collect();
    let (wall, cpu) = (began.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    took.sort();
    let (calls, at) = (took.len() as f64, |share: usize| took[(took.len() - 1) * share / 1000]);
    println!(
        "{what}: {:.0}/s, {:.1} us CPU each ({:.0} per CPU-second), p50 {:?}, p99 {:?}, p99.9 {:?}",
        calls / wall,
        cpu / calls * 1e6,
        calls / cpu,
        at(500),
        at(990),
        at(999)
    );
    Ok(calls / wall)
}

fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(used.tv_sec.cast_unsigned(), used.tv_nsec.try_into().unwrap_or(0))
}

/// Two processes that both create as fast as they are answered: what each gets shows whether turns are fair.
async fn two_processes(directory: &Path) -> Outcome<()> {
    let store = store_at(directory).await?;
    let mut other = Command::new(std::env::current_exe()?)
        .arg(SECOND_WRITER)
        .arg(directory)
        .arg("1000000000")
        .stdin(Stdio::null())
        .spawn()?;
    let here = measure("two processes, 64 callers each, first", CALLERS, |number| {
        let store = store.clone();
        async move { store.create_user(user(number), None).await.map(drop) }
    });
    here.await?;
    let ended = tokio::task::spawn_blocking(move || other.wait()).await??;
    if !ended.success() {
        return Err("the second writer failed".into());
    }
    Ok(store.close().await?)
}

async fn second_writer(directory: &Path, start: usize) -> Outcome<()> {
    let store = store_at(directory).await?;
    measure("two processes, 64 callers each, second", CALLERS, |number| {
        let store = store.clone();
        async move { store.create_user(user(start + number), None).await.map(drop) }
    })
    .await?;
    Ok(store.close().await?)
}

async fn queue_alone(directory: &Path) -> Outcome<()> {
    let address = format!("sqlite:{}", directory.join("queue.db").display());
    let settings = queue::Settings { deadline: Duration::from_secs(20), ..Default::default() };
    let queue: Arc<dyn Queue> = queue::open(&address, "bench", settings).await?;
    let publish = measure("publishes of one message, 64 callers", CALLERS, |_| {
        let (queue, envelope) = (queue.clone(), Envelope { id: MessageId::fresh(), body: vec![b'x'; 200] });
        async move { queue.publish(vec![envelope]).await }
    });
    publish.await?;
    let began = Instant::now();
    let backlog = queue.depth().await?.visible;
    println!("depth of a backlog of {backlog}: {:?}", began.elapsed());
    let (began, cpu) = (Instant::now(), cpu_time());
    let consumer = async |_: usize| {
        let mut consumed = 0;
        while began.elapsed() < LENGTH {
            let taken = queue.receive(32, Duration::ZERO).await?;
            consumed += queue.ack(taken.into_iter().map(|delivery| delivery.receipt).collect()).await?;
        }
        Ok::<_, backing::Error>(consumed)
    };
    let consumed: usize = join_all((0..4).map(consumer)).await.into_iter().sum::<Result<usize, _>>()?;
    let (wall, cpu) = (began.elapsed().as_secs_f64(), (cpu_time() - cpu).as_secs_f64());
    println!(
        "receive 32 and ack, 4 consumers: {:.0} messages/s, {:.1} us CPU each",
        consumed as f64 / wall,
        cpu / consumed as f64 * 1e6
    );
    idle(&queue).await?;
    Ok(queue.close().await?)
}

/// What waiting costs when nothing comes.
async fn idle(queue: &Arc<dyn Queue>) -> Outcome<()> {
    while !queue.receive(1000, Duration::ZERO).await?.is_empty() {}
    let cpu = cpu_time();
    queue.receive(1, LENGTH).await?;
    println!("an idle receive: {:.2} % of a core", (cpu_time() - cpu).as_secs_f64() / LENGTH.as_secs_f64() * 100.0);
    Ok(())
}
