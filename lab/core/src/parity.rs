//! What engines promise, as data, and in what the variants of a run differ there: the table that stands beside every comparison, and
//! the notes without which no word of a comparison is said.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{BackingSeen, Grade};
use crate::model::Model;
use crate::narrate::grade_text;
use crate::spec::{CacheEngine, CreateMode, QueueEngine, Role, Spec, StoreEngine};
use crate::words::{list, visible};

/// What an engine promises. Each field is one phrase for a table cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promises<T = String> {
    /// `sqlite`, `memory`, `postgres`, …
    pub engine: T,
    /// What survives which failure.
    pub durability: T,
    /// What has happened when a write is answered.
    pub acknowledgement: T,
    /// How many copies, where.
    pub replication: T,
    /// In which order readers see writes.
    pub ordering: T,
    /// Which calls share the cost of one write.
    pub batching: T,
    /// How near it is to what it stands for.
    pub fidelity: Grade,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Which engine.
    Engine,
    /// See [`Promises::durability`].
    Durability,
    /// See [`Promises::acknowledgement`].
    Acknowledgement,
    /// See [`Promises::replication`].
    Replication,
    /// See [`Promises::ordering`].
    Ordering,
    /// See [`Promises::batching`].
    Batching,
    /// See [`Promises::fidelity`].
    Fidelity,
    /// What the server says of itself.
    Server,
    /// The image it was started from.
    Image,
}

impl Aspect {
    /// All, in the order of the table.
    pub const ALL: [Self; 9] = [
        Self::Engine,
        Self::Durability,
        Self::Acknowledgement,
        Self::Replication,
        Self::Ordering,
        Self::Batching,
        Self::Fidelity,
        Self::Server,
        Self::Image,
    ];

    /// `engine`, `durability`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Durability => "durability",
            Self::Acknowledgement => "acknowledgement",
            Self::Replication => "replication",
            Self::Ordering => "ordering",
            Self::Batching => "batching",
            Self::Fidelity => "fidelity",
            Self::Server => "server",
            Self::Image => "image",
        }
    }
}

/// One row: a cell a variant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// What it is about.
    pub aspect: Aspect,
    /// By variant index; free of control characters.
    pub cells: Vec<String>,
    /// The cells are not all the same.
    pub differs: bool,
}

/// The rows of one role in which the variants differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleParity {
    /// The role.
    pub role: Role,
    /// In the order of [`Aspect::ALL`].
    pub rows: Vec<Row>,
}

/// In what one variant differs from the first in one role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Its number in the run, from 1: the same in the report, in sentences and in the summary.
    pub number: usize,
    /// The role.
    pub role: Role,
    /// The difference in one sentence, without a full stop.
    pub text: String,
    /// What each side promises, where that differs.
    pub details: Vec<Detail>,
}

/// One aspect in which two variants differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// Which.
    pub aspect: Aspect,
    /// The gist of what holds for the first variant.
    pub first: String,
    /// The gist of what holds for the other.
    pub other: String,
}

impl Note {
    /// The difference with what each side promises.
    pub fn long(&self) -> String {
        let detail = |d: &Detail| format!("{}: “{}” against “{}”", d.aspect.name(), d.first, d.other);
        let details: Vec<String> = self.details.iter().map(detail).collect();
        if details.is_empty() { self.text.clone() } else { format!("{}: {}", self.text, details.join("; ")) }
    }
}

/// Marks at words in the order in which they came, and the notes that they lead to. Whoever writes a marked word writes these too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use = "the notes belong below the words that they are marked at"]
pub struct Footnotes(BTreeMap<usize, Note>);

impl Footnotes {
    /// Takes the notes in; their marks.
    pub(crate) fn mark(&mut self, notes: &[Note]) -> String {
        notes.iter().for_each(|note| drop(self.0.insert(note.number, note.clone())));
        let marks: Vec<String> = notes.iter().map(|note| superscript(note.number)).collect();
        marks.join(" ")
    }

    /// The notes that were marked, by number.
    pub fn notes(&self) -> impl Iterator<Item = &Note> {
        self.0.values()
    }
}

/// A footnote's mark: `¹`, `¹²`.
pub fn superscript(number: usize) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    number.to_string().bytes().filter_map(|b| DIGITS.get(usize::from(b.wrapping_sub(b'0')))).collect()
}

/// How the variants of a run stand to one another in what their backing services promise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parity {
    /// Roles in which they differ.
    pub roles: Vec<RoleParity>,
    /// Notes by variant index; of the first there are none.
    notes: Vec<Vec<Note>>,
    /// Of each variant, how real its backing services are, by role.
    grades: Vec<Vec<(Role, Grade)>>,
}

impl Parity {
    /// From the backing services that the trials of each variant found; where none was recorded, from the spec.
    pub fn of(model: &Model) -> Self {
        let variants = model.run.as_ref().map_or(&[][..], |run| &run.variants);
        let found: Vec<Vec<Found>> = (0_u32..).zip(variants).map(|(i, v)| found(model, i, &v.spec)).collect();
        let table = |role: Role| {
            let row = |aspect: Aspect| {
                let cells: Vec<String> = found.iter().map(|all| cell(all, role, aspect)).collect();
                Row { aspect, differs: cells.iter().any(|c| Some(c) != cells.first()), cells }
            };
            RoleParity { role, rows: Aspect::ALL.map(row).into() }
        };
        let roles = Role::ALL.map(table).into_iter().filter(|t| t.rows.iter().any(|row| row.differs));
        let mut parity = Self {
            roles: roles.collect(),
            notes: Vec::new(),
            grades: found.iter().map(|all| all.iter().map(|f| (f.role, f.grade)).collect()).collect(),
        };
        let mut number = 0;
        parity.notes = (0..variants.len())
            .map(|v| {
                let differing = parity.roles.iter().filter(|t| t.rows.iter().any(|r| r.cells[v] != r.cells[0]));
                let labels = (variants[0].label.as_str(), variants[v].label.as_str());
                let noted = differing.map(|table| {
                    number += 1;
                    note(number, table, v, labels)
                });
                noted.collect()
            })
            .collect();
        parity
    }

    /// The rows in which variants differ.
    pub fn differences(&self) -> impl Iterator<Item = (Role, &Row)> {
        self.roles.iter().flat_map(|table| table.rows.iter().filter(|r| r.differs).map(|row| (table.role, row)))
    }

    /// In what a variant differs from the first.
    pub fn notes(&self, variant: u32) -> &[Note] {
        self.notes.get(variant as usize).map_or(&[], Vec::as_slice)
    }

    /// All notes, by number.
    pub fn all_notes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().flatten()
    }

    /// The least real of a variant's backing services among those in which variants differ; where they do not, among all.
    pub fn grade(&self, variant: u32) -> Grade {
        let differs = |role: Role| self.roles.is_empty() || self.roles.iter().any(|table| table.role == role);
        let mine = self.grades.get(variant as usize).into_iter().flatten();
        least_real(mine.filter(|(role, _)| differs(*role)).map(|(_, grade)| *grade))
    }

    /// The least real of a variant's backing services of one role.
    pub fn role_grade(&self, variant: u32, role: Role) -> Grade {
        let mine = self.grades.get(variant as usize).into_iter().flatten();
        least_real(mine.filter(|(of, _)| *of == role).map(|(_, grade)| *grade))
    }
}

/// A backing service of a variant: the cells by aspect; None was not recorded.
struct Found {
    role: Role,
    engine: String,
    grade: Grade,
    /// Every difference between trials of the variant shows.
    cells: BTreeMap<Aspect, String>,
}

impl Found {
    fn seen(seen: &BackingSeen) -> Option<Self> {
        let role = Role::ALL.into_iter().find(|role| seen.name.split('.').next() == Some(role.name()))?;
        let p = &seen.promises;
        let image = seen.image.as_ref().map(|image| {
            let digest = image.digest.strip_prefix("sha256:").unwrap_or(&image.digest);
            let digest: String = digest.chars().take(12).collect();
            format!("{} ({digest})", image.name)
        });
        let cells = [
            (Aspect::Durability, Some(p.durability.clone())),
            (Aspect::Acknowledgement, Some(p.acknowledgement.clone())),
            (Aspect::Replication, Some(p.replication.clone())),
            (Aspect::Ordering, Some(p.ordering.clone())),
            (Aspect::Batching, Some(p.batching.clone())),
            (Aspect::Server, Some(seen.server.clone()).filter(|text| !text.is_empty())),
            (Aspect::Image, Some(image.unwrap_or_else(|| "none".to_owned()))),
        ];
        let cells = cells.into_iter().filter_map(|(aspect, text)| Some((aspect, visible(&text?))));
        Some(Self { role, engine: visible(&p.engine), grade: p.fidelity, cells: cells.collect() })
    }

    fn text(&self, aspect: Aspect) -> String {
        match aspect {
            Aspect::Engine => self.engine.clone(),
            Aspect::Fidelity => grade_text(self.grade).to_owned(),
            other => self.cells.get(&other).cloned().unwrap_or_else(|| "not recorded".to_owned()),
        }
    }
}

/// The backing services of a variant: what its trials found, and what its spec names besides.
fn found(model: &Model, variant: u32, spec: &Spec) -> Vec<Found> {
    let mine = model.trials.iter().filter(|t| t.info.is_some_and(|info| info.variant == variant));
    let mut found: Vec<Found> = mine.flat_map(|t| &t.backing).filter_map(Found::seen).collect();
    for (role, engine, grade) in named(spec) {
        if !found.iter().any(|f| f.role == role && f.engine == engine) {
            found.push(Found { role, engine: engine.to_owned(), grade, cells: BTreeMap::new() });
        }
    }
    found
}

/// Engines that a spec uses.
fn named(spec: &Spec) -> Vec<(Role, &'static str, Grade)> {
    let store = |e: StoreEngine| (Role::Store, e.name(), e.grade());
    let queue = |e: QueueEngine| (Role::Queue, e.name(), e.grade());
    let cache = |e: CacheEngine| (e != CacheEngine::None).then(|| (Role::Cache, e.name(), e.grade()));
    let mut named = Vec::new();
    if let Some(user) = &spec.services.user_service {
        named.push(store(user.store));
        named.extend((user.create == CreateMode::Queued).then(|| queue(user.queue)));
        named.extend(cache(user.cache));
    }
    if let Some(message) = &spec.services.message_service {
        named.extend([store(message.store), queue(message.queue)]);
        named.extend(cache(message.cache));
    }
    named
}

/// What a variant has in one role, each text once; with their engines where there are several.
fn cell(found: &[Found], role: Role, aspect: Aspect) -> String {
    let mut texts: Vec<(&str, String)> = Vec::new();
    for one in found.iter().filter(|f| f.role == role) {
        let text = one.text(aspect);
        if !texts.iter().any(|(engine, known)| *engine == one.engine && *known == text) {
            texts.push((&one.engine, text));
        }
    }
    let same = texts.iter().all(|(_, text)| Some(text) == texts.first().map(|(_, first)| first));
    match texts.as_slice() {
        [] => "none".to_owned(),
        [(_, text), ..] if same => text.clone(),
        several if aspect == Aspect::Engine => several.iter().map(|(_, t)| t.as_str()).collect::<Vec<_>>().join(" / "),
        several => several.iter().map(|(engine, text)| format!("{engine}: {text}")).collect::<Vec<_>>().join(" / "),
    }
}

fn least_real(grades: impl Iterator<Item = Grade>) -> Grade {
    let rank = |grade: &Grade| match grade {
        Grade::Real => 0,
        Grade::Compatible => 1,
        Grade::Embedded => 2,
    };
    grades.max_by_key(rank).unwrap_or(Grade::Real)
}

fn note(number: usize, table: &RoleParity, variant: usize, (first, other): (&str, &str)) -> Note {
    let cell = |aspect: Aspect, of: usize| {
        table.rows.iter().find(|row| row.aspect == aspect).and_then(|row| row.cells.get(of)).map_or("", String::as_str)
    };
    let name = |of: usize| {
        let engine = cell(Aspect::Engine, of);
        if engine == "none" {
            return "none".to_owned();
        }
        let server = Some(cell(Aspect::Server, of)).filter(|text| *text != "not recorded");
        let grade = Some(cell(Aspect::Fidelity, of)).filter(|text| *text != "real");
        let about: Vec<&str> = server.into_iter().chain(grade).collect();
        if about.is_empty() { engine.to_owned() } else { format!("{engine} ({})", about.join(", ")) }
    };
    let differing: Vec<Aspect> =
        table.rows.iter().filter(|r| r.cells[variant] != r.cells[0]).map(|r| r.aspect).collect();
    let told = |aspect: &&Aspect| !matches!(aspect, Aspect::Engine | Aspect::Server);
    let names: Vec<&str> = differing.iter().filter(told).map(|aspect| aspect.name()).collect();
    let durable = [0, variant].map(|of| cell(Aspect::Durability, of));
    let (recorded, missing) = (durable.iter().any(|text| *text != "not recorded"), cell(Aspect::Engine, 0) == "none");
    let missing = missing || cell(Aspect::Engine, variant) == "none";
    let rest = match (missing, recorded) {
        (true, _) => String::new(),
        (_, false) => "; what they promise was not recorded".to_owned(),
        _ if names.is_empty() => String::new(),
        _ => format!("; they differ in {}", list(&names)),
    };
    let (first, other) = (visible(first), visible(other));
    let text = format!("{}: {} with {first}, {} with {other}{rest}", table.role.name(), name(0), name(variant));
    let detail = |aspect: &Aspect| Detail {
        aspect: *aspect,
        first: gist(cell(*aspect, 0)).to_owned(),
        other: gist(cell(*aspect, variant)).to_owned(),
    };
    let details = if missing || !recorded { Vec::new() } else { differing.iter().filter(told).map(detail).collect() };
    Note { number, role: table.role, text, details }
}

/// The first statement of a phrase; the rest of it stands in the table.
fn gist(text: &str) -> &str {
    let end = ["; ", ". "].iter().filter_map(|stop| text.find(stop)).min();
    end.map_or(text, |end| &text[..end])
}
