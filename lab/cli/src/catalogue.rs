//! The experiments that come with the binary, so that their names work in any folder.

/// An experiment that comes with the binary.
#[derive(Debug, Clone, Copy)]
pub struct Bundled {
    /// Its name: the file's stem.
    pub name: &'static str,
    /// Its YAML.
    pub text: &'static str,
}

macro_rules! bundled {
    ($($name:literal),* $(,)?) => {
        &[$(Bundled { name: $name, text: include_str!(concat!("../../../experiments/", $name, ".yaml")) }),*]
    };
}

/// All of them, in the order they are listed.
pub const BUNDLED: &[Bundled] = bundled![
    "autoscale-users",
    "autoscale-response-time",
    "queue-backlog",
    "cache-effect",
    "generator-autoscale",
    "kafka-vs-sqs",
    "queues",
    "databases",
    "redis-cache",
    "create-queued",
    "broker-crash",
    "database-crash",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_under_experiments_is_bundled() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../experiments");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .expect("the folder")
            .filter_map(|entry| entry.expect("an entry").file_name().to_str()?.strip_suffix(".yaml").map(str::to_owned))
            .collect();
        files.sort();
        let mut names: Vec<_> = BUNDLED.iter().map(|b| b.name.to_owned()).collect();
        names.sort();
        assert_eq!(files, names);
    }
}
