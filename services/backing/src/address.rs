//! Addresses of engines: where they stand, and as text that may be shown in errors, logs and reports.

use std::borrow::Cow;

use crate::Error;

/// The address itself, or what stands in the file that `@PATH` names: a password does not belong among a process's arguments.
///
/// # Errors
/// The file cannot be read.
pub fn read(address: &str) -> Result<Cow<'_, str>, Error> {
    let Some(path) = address.strip_prefix('@') else { return Ok(Cow::Borrowed(address)) };
    let text = std::fs::read_to_string(path).map_err(|e| Error::engine("read the file of an address", e))?;
    Ok(Cow::Owned(text.trim().to_owned()))
}

/// The address without what must not be seen: the password gives way to `…`, a query (which may hold another) is left out.
pub fn shown(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let plain = |text: &str| text.split_once('?').map_or(text, |(before, _query)| before).to_owned();
    // The last `@`: a password that was not escaped may hold one, and any other sign.
    let Some((who, place)) = rest.rsplit_once('@') else { return format!("{scheme}://{}", plain(rest)) };
    let user = who.split(['@', '/', '?', ':']).next().unwrap_or_default();
    let password = if user.len() < who.len() { ":…" } else { "" };
    format!("{scheme}://{user}{password}@{}", plain(place))
}

#[cfg(test)]
mod tests {
    use super::{read, shown};

    #[test]
    fn an_address_may_stand_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("address");
        std::fs::write(&file, "postgres://lab:secret@db/users\n").expect("a file");
        let named = format!("@{}", file.display());
        assert_eq!(read(&named).expect("an address"), "postgres://lab:secret@db/users");
        assert_eq!(read("memory:").expect("an address"), "memory:");
        assert!(read("@/nowhere/at/all").is_err());
    }

    #[test]
    fn a_password_is_never_shown() {
        for (address, seen) in [
            ("postgres://lab:secret@db:5432/users", "postgres://lab:…@db:5432/users"),
            ("mysql://lab:se/c@r:et@db/users?ssl-mode=required", "mysql://lab:…@db/users"),
            ("redis://:secret@127.0.0.1:6379/0", "redis://:…@127.0.0.1:6379/0"),
            ("postgres://lab@db/users?password=secret", "postgres://lab@db/users"),
            ("postgres://lab:sec?ret@db/users", "postgres://lab:…@db/users"),
            ("postgres://lab@db/users?password=secret@", "postgres://lab:…@"),
            ("sqs://127.0.0.1:9324?region=here", "sqs://127.0.0.1:9324"),
            ("kafka://127.0.0.1:9092", "kafka://127.0.0.1:9092"),
            ("sqlite:users.db", "sqlite:users.db"),
        ] {
            assert_eq!(shown(address), seen);
        }
    }
}
