//! A run again as sentences, where there is no screen.

use super::bench::{Bench, stderr, stdout};

#[test]
fn a_replay_without_a_screen_tells_the_run() {
    let bench = Bench::new();
    let ran = bench.run(&["replay", "demo"]);
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));
    let told = stdout(&ran);
    for part in ["load begins", "phase step begins", "run is complete"] {
        assert!(told.contains(part), "{told}");
    }
    let late = stdout(&bench.run(&["replay", "demo", "--at", "2:00"]));
    assert!(!late.is_empty() && told.ends_with(&late), "{late}");
    for (args, said) in [(["nope", "--speed=1"], "lab runs"), (["demo", "--speed=0"], "0.1 to 1000")] {
        let ran = bench.run(&[&["replay"], &args[..]].concat());
        assert_eq!(ran.status.code(), Some(2), "{args:?}: {}", stderr(&ran));
        assert!(stderr(&ran).contains(said), "{args:?} does not say `{said}`: {}", stderr(&ran));
    }
}
