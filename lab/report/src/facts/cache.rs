//! What the cache of each variant did.

use serde::Serialize;

use lab_core::cache::{self, CacheEffect};
use lab_core::compare::labelled;
use lab_core::event::Grade;
use lab_core::model::Model;
use lab_core::words;

#[derive(Serialize)]
pub(crate) struct Effect {
    variant: String,
    engine: String,
    hit_ratio: String,
    lookups: String,
    offload: String,
    cold: String,
}

/// A row a variant; none when no variant has a cache.
pub(crate) fn effects(model: &Model) -> Vec<Effect> {
    cache::effects(model).iter().map(|effect| Effect::of(model, effect)).collect()
}

impl Effect {
    fn of(model: &Model, effect: &CacheEffect) -> Self {
        let unknown = || if effect.grade.is_some() { "not counted".to_owned() } else { "–".to_owned() };
        let grade = effect.grade.unwrap_or(Grade::Real);
        let counted = effect.counted.as_ref();
        let share = |share: Option<f64>| share.map_or_else(unknown, |s| labelled(words::share(s), grade));
        Self {
            variant: model.label(effect.variant),
            engine: effect.engine.clone(),
            hit_ratio: share(counted.and_then(|c| c.hit_ratio())),
            lookups: counted.map_or_else(unknown, |c| words::count((c.hits + c.misses).max(0.0) as u64)),
            offload: share(counted.and_then(|c| c.offload())),
            cold: match counted {
                None => unknown(),
                Some(counted) => counted.cold.map_or_else(|| "never warm".to_owned(), words::duration),
            },
        }
    }
}
