//! The known name nearest to one that is not known.

/// The candidate that `found` is most likely a misspelling of; None when none is near.
pub fn nearest<'a>(found: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    let scored = candidates.into_iter().map(|name| (strsim::damerau_levenshtein(&found, &name.to_lowercase()), name));
    let (distance, name) = scored.min_by_key(|(distance, _)| *distance)?;
    let length = found.chars().count().max(name.chars().count());
    (distance <= length / 3 + 1 && distance < length).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn suggests_only_what_is_near() {
        let names = ["store", "cache", "cache-ttl", "autoscale"];
        assert_eq!(nearest("cashe", names), Some("cache"));
        assert_eq!(nearest("autoscaler", names), Some("autoscale"));
        assert_eq!(nearest("Store", names), Some("store"));
        assert_eq!(nearest("xyzzy", names), None);
        assert_eq!(nearest("", names), None);
    }
}
