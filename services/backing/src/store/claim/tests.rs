//! The protocol against documents in memory that die, wait or lose numbers where a test wants it.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::*;

/// Where nobody dies nothing may depend on it.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(30);

/// Each change counts as a step; the one at which `dies_at` is reached fails after it was done, and so do all later ones of that life.
#[derive(Default)]
struct Database {
    data: Mutex<Data>,
}

#[derive(Default)]
struct Data {
    claims: HashSet<String>,
    drawn: u64,
    answers: HashMap<String, Answer>,
    users: HashMap<UserId, String>,
}

struct Life<'a> {
    database: &'a Database,
    steps: AtomicUsize,
    dies_at: usize,
}

impl Database {
    fn life(&self, dies_at: usize) -> Life<'_> {
        Life { database: self, steps: AtomicUsize::new(0), dies_at }
    }

    fn data(&self) -> std::sync::MutexGuard<'_, Data> {
        self.data.lock().unwrap()
    }
}

impl Life<'_> {
    async fn step<T>(&self, change: impl FnOnce(&mut Data) -> T + Send) -> Result<T, Error> {
        tokio::task::yield_now().await;
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        let dead = || Error::Closed { operation: "test" };
        if step > self.dies_at {
            return Err(dead());
        }
        let said = change(&mut self.database.data());
        if step == self.dies_at { Err(dead()) } else { Ok(said) }
    }
}

#[async_trait]
impl Documents for Life<'_> {
    async fn claim(&self, key: &str) -> Result<bool, Error> {
        self.step(|data| data.claims.insert(key.to_owned())).await
    }

    async fn draw(&self) -> Result<UserId, Error> {
        self.step(|data| {
            data.drawn += 1;
            UserId(data.drawn)
        })
        .await
    }

    async fn keep_answer(&self, key: &str, answer: Answer) -> Result<bool, Error> {
        self.step(|data| {
            let free = !data.answers.contains_key(key);
            data.answers.entry(key.to_owned()).or_insert(answer);
            free
        })
        .await
    }

    async fn answer(&self, key: &str) -> Result<Option<Answer>, Error> {
        self.step(|data| data.answers.get(key).copied()).await
    }

    async fn put_user(&self, id: UserId, user: &NewUser) -> Result<bool, Error> {
        self.step(|data| {
            let free = !data.users.contains_key(&id);
            data.users.entry(id).or_insert_with(|| user.name.clone());
            free
        })
        .await
    }
}

fn user() -> NewUser {
    NewUser { name: "Ada".to_owned(), created_at: String::new() }
}

async fn keyed(life: &Life<'_>, body: &[u8], patience: Duration) -> Result<Created, Error> {
    create(life, &user(), Some(&Idempotency::client("key", body)), patience).await
}

#[tokio::test]
async fn a_death_at_any_step_leaves_one_user_for_the_key() {
    const STEPS: usize = 4;
    let deaths = (0..=STEPS).flat_map(|first| (0..=STEPS + 4).map(move |second| (first, second)));
    join_all(deaths.map(async |(first, second)| {
        let database = Database::default();
        let mut answers = Vec::new();
        for dies_at in [first, second, usize::MAX] {
            answers.push(keyed(&database.life(dies_at), b"a", SHORT).await);
        }
        let again = keyed(&database.life(usize::MAX), b"a", LONG).await.unwrap();
        assert!(!again.fresh);
        let data = database.data();
        assert_eq!(data.users.keys().collect::<Vec<_>>(), [&again.id], "deaths at {first} and {second}");
        for answered in answers.into_iter().flatten() {
            assert_eq!(answered.id, again.id, "deaths at {first} and {second}");
        }
    }))
    .await;
}

#[tokio::test]
async fn many_at_once_make_one_user_and_draw_one_number() {
    let database = Database::default();
    let lives: Vec<_> = (0..50).map(|_| database.life(usize::MAX)).collect();
    let created = join_all(lives.iter().map(|life| keyed(life, b"a", LONG))).await;
    let created: Vec<_> = created.into_iter().map(Result::unwrap).collect();
    assert!(created.iter().all(|created| created.id == UserId(1)));
    assert_eq!(created.iter().filter(|created| created.fresh).count(), 1);
    assert_eq!(database.data().drawn, 1);
}

#[tokio::test]
async fn another_body_is_refused_and_draws_no_number() {
    let database = Database::default();
    keyed(&database.life(usize::MAX), b"a", LONG).await.unwrap();
    let refused = keyed(&database.life(usize::MAX), b"b", LONG).await;
    assert!(matches!(refused, Err(Error::KeyReused { .. })), "{refused:?}");
    assert_eq!(database.data().drawn, 1);
}

#[tokio::test]
async fn a_silent_claim_is_waited_for_as_long_as_patience_lasts() {
    let database = Database::default();
    keyed(&database.life(0), b"a", SHORT).await.unwrap_err();
    let began = Instant::now();
    assert!(keyed(&database.life(usize::MAX), b"a", SHORT).await.unwrap().fresh);
    assert!(began.elapsed() >= SHORT, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_counter_that_lost_numbers_overwrites_nobody() {
    let database = Database::default();
    let unkeyed = async || create(&database.life(usize::MAX), &user(), None, LONG).await.unwrap().id;
    assert_eq!((unkeyed().await, unkeyed().await), (UserId(1), UserId(2)));
    database.data().drawn = 0;
    assert_eq!(unkeyed().await, UserId(3));
    assert_eq!(database.data().users.len(), 3);
}
