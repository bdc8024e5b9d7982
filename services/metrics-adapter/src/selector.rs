//! Label selectors as the autoscaler writes them into `labelSelector`: `service=user-service`, `service in (a,b)`, `!service`, joined by
//! commas that mean *and*.

use std::str::FromStr;

/// What labels must be like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    /// A label that is absent has none of the values.
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A text is not a selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no label selector; write it like `service=user-service` or `service in (a,b)`")]
pub(crate) struct SelectorError(String);

impl Selector {
    /// Whether all requirements are met.
    pub(crate) fn matches(&self, labels: &[(&str, &str)]) -> bool {
        let value = |key: &str| labels.iter().find(|(name, _)| *name == key).map(|(_, value)| *value);
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => value(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Requirement::NotIn(key, values) => value(key).is_none_or(|value| values.iter().all(|one| one != value)),
            Requirement::Exists(key) => value(key).is_some(),
            Requirement::Absent(key) => value(key).is_none(),
        })
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let terms = terms(text);
        let read = terms.map(|term| requirement(term.trim()).ok_or_else(|| SelectorError(text.to_owned())));
        read.collect::<Result<_, _>>().map(Self)
    }
}

/// The parts between commas, but for those within parentheses.
fn terms(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |letter| {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        letter == ',' && depth == 0
    })
}

fn requirement(term: &str) -> Option<Requirement> {
    if let Some(set) = term.strip_suffix(')') {
        let (head, values) = set.split_once('(')?;
        let (key, operator) = head.trim_end().split_once(char::is_whitespace)?;
        let (key, values) = (name(key)?, values.split(',').map(value).collect::<Option<Vec<_>>>()?);
        return match operator.trim() {
            "in" => Some(Requirement::In(key, values)),
            "notin" => Some(Requirement::NotIn(key, values)),
            _ => None,
        };
    }
    if let Some((key, other)) = term.split_once("!=") {
        return Some(Requirement::NotIn(name(key)?, vec![value(other)?]));
    }
    if let Some((key, equal)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Some(Requirement::In(name(key)?, vec![value(equal)?]));
    }
    match term.strip_prefix('!') {
        Some(key) => name(key).map(Requirement::Absent),
        None => name(term).map(Requirement::Exists),
    }
}

fn name(text: &str) -> Option<String> {
    value(text).filter(|name| !name.is_empty())
}

/// A label's value, which may be empty.
fn value(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./".contains(letter);
    text.chars().all(plain).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::everything("", true)]
    #[case::equal("service=user-service", true)]
    #[case::twice_equal("service==user-service", true)]
    #[case::spaces(" service = user-service , !queue ", true)]
    #[case::other("service=message-service", false)]
    #[case::not("service!=message-service", true)]
    #[case::not_absent("queue!=messages", true)]
    #[case::absent_is_not_equal("queue=", false)]
    #[case::among("service in (message-service, user-service)", true)]
    #[case::among_then_more("service in (a,user-service),queue", false)]
    #[case::not_among("service notin (a,b)", true)]
    #[case::not_among_ours("service notin (user-service)", false)]
    #[case::exists("service", true)]
    #[case::absent("!service", false)]
    fn selectors_match(#[case] text: &str, #[case] expected: bool) {
        let selector: Selector = text.parse().expect("a selector");
        assert_eq!(selector.matches(&[("service", "user-service")]), expected);
    }

    #[rstest]
    #[case("=a")]
    #[case("a,,b")]
    #[case("a in b")]
    #[case("a in (b")]
    #[case("a near (b)")]
    #[case("a>1")]
    #[case("in (a)")]
    #[case("a=b=c")]
    #[case("!")]
    fn other_texts_are_refused(#[case] text: &str) {
        assert_eq!(text.parse::<Selector>(), Err(SelectorError(text.to_owned())));
    }
}
