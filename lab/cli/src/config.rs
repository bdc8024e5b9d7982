//! What a user sets once, in files: `lab.toml` of the folder, then that of the user. The environment has the last word: NO_COLOR,
//! LAB_THEME, LAB_ASCII. Flags are none of its business.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};

use lab_tui::look::{Look, Theme};
use serde::Deserialize;

use crate::error::LabError;

/// A file, as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The live screen.
    pub dashboard: DashboardConfig,
}

/// The live screen, as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardConfig {
    /// `dark`, `light`, `mono`, `safe`.
    pub theme: Option<ThemeName>,
    /// Only characters that every terminal has.
    pub ascii: Option<bool>,
    /// Frames a second at most, 1 to 60.
    pub fps: Option<u16>,
    /// The wheel and clicks are taken from the terminal.
    pub mouse: Option<bool>,
    /// Command to chords: `pause = ["space"]`. What is named replaces its default keys.
    pub keys: BTreeMap<String, Vec<String>>,
}

/// A theme's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ThemeName {
    /// Light text on dark.
    Dark,
    /// Dark text on light.
    Light,
    /// No colour.
    Mono,
    /// For any colour vision.
    Safe,
}

impl From<ThemeName> for Theme {
    fn from(name: ThemeName) -> Self {
        match name {
            ThemeName::Dark => Self::Dark,
            ThemeName::Light => Self::Light,
            ThemeName::Mono => Self::Mono,
            ThemeName::Safe => Self::Safe,
        }
    }
}

impl Config {
    /// Reads the files that are there.
    ///
    /// # Errors
    /// A file cannot be read, or holds something that is not known; the error names file, line and column.
    pub fn read() -> Result<Self, LabError> {
        let path = |name: &str| env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let home = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
        let user = home.map(|home| home.join("lab/lab.toml"));
        let mut config = Self::default();
        for file in user.into_iter().chain([PathBuf::from("lab.toml")]) {
            config = config.under(Self::of_file(&file)?);
        }
        Ok(config)
    }

    fn of_file(path: &Path) -> Result<Self, LabError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::of_text(&text)
                .map_err(|e| LabError::refused(format!("cannot use {}", path.display()), e).hint(HINT)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(LabError::refused(format!("cannot read {}", path.display()), e)),
        }
    }

    fn of_text(text: &str) -> Result<Self, toml::de::Error> {
        let config: Self = toml::from_str(text)?;
        match config.dashboard.fps {
            Some(fps) if !(1..=60).contains(&fps) => {
                Err(serde::de::Error::custom(format!("dashboard.fps is {fps} and must be 1 to 60")))
            }
            _ => Ok(config),
        }
    }

    /// With what another says taking precedence.
    fn under(self, over: Self) -> Self {
        let (mine, theirs) = (self.dashboard, over.dashboard);
        let keys = mine.keys.into_iter().chain(theirs.keys).collect();
        let dashboard = DashboardConfig {
            theme: theirs.theme.or(mine.theme),
            ascii: theirs.ascii.or(mine.ascii),
            fps: theirs.fps.or(mine.fps),
            mouse: theirs.mouse.or(mine.mouse),
            keys,
        };
        Self { dashboard }
    }

    /// Theme and glyphs: a flag, then the environment, then the files; ASCII where the locale has no UTF-8.
    ///
    /// # Errors
    /// LAB_THEME names no theme.
    pub fn look(&self, flag: Option<ThemeName>, ascii: bool) -> Result<Look, LabError> {
        let text = |name: &str| env::var(name).ok().filter(|v| !v.is_empty());
        let named = text("LAB_THEME").map(|name| theme_named(&name)).transpose()?;
        let mono = text("NO_COLOR").map(|_| ThemeName::Mono);
        let theme = flag.or(mono).or(named).or(self.dashboard.theme).unwrap_or(ThemeName::Dark);
        let locale = text("LC_ALL").or_else(|| text("LC_CTYPE")).or_else(|| text("LANG"));
        let plain_locale = locale.is_some_and(|l| !l.to_lowercase().replace('-', "").contains("utf8"));
        let set = text("LAB_ASCII").map(|v| v != "0").or(self.dashboard.ascii);
        Ok(Look { theme: theme.into(), ascii: ascii || set.unwrap_or(plain_locale) })
    }
}

const HINT: &str = "sections and keys: [dashboard] theme, ascii, fps, mouse; [dashboard.keys] command = [\"key\"]";

fn theme_named(name: &str) -> Result<ThemeName, LabError> {
    clap::ValueEnum::from_str(name, true).map_err(|_| {
        LabError::input(format!("LAB_THEME is `{name}`, which is no theme")).hint("dark, light, mono, safe")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_comes_before_the_user_and_what_is_not_known_is_named() {
        let user = Config::of_text(
            "[dashboard]\ntheme = \"light\"\nfps = 10\n[dashboard.keys]\npause = [\"p\"]\nquit = [\"q\"]\n",
        );
        let folder = Config::of_text("[dashboard]\ntheme = \"safe\"\n[dashboard.keys]\npause = [\"f2\"]\n");
        let both = user.expect("a file").under(folder.expect("a file")).dashboard;
        assert_eq!((both.theme, both.fps), (Some(ThemeName::Safe), Some(10)));
        assert_eq!(both.keys["pause"], ["f2"]);
        assert_eq!(both.keys["quit"], ["q"]);
        for (text, part) in [
            ("[dashboard]\ntheme = \"pink\"\n", "pink"),
            ("[dashbord]\n", "dashbord"),
            ("[dashboard]\nfps = 0\n", "1 to 60"),
        ] {
            let error = Config::of_text(text).expect_err(text).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
