# What CI runs, by name. `just` lists it.

default:
    @just --list

# The main job, on the embedded default.
demo:
    cargo run --release -- experiment autoscale-users

# What the README promises.
test:
    cargo test --workspace

# Everything that must hold before a change lands.
check: fmt clippy doc deny test

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Arrows between rooms, licences, sources. Advisories need the network and run where there is one.
deny:
    cargo deny --offline check bans licenses sources

# The measurements of bench/README.md that are experiments.
bench:
    cargo run --release -- experiment bench/user-service.yaml
    cargo run --release -- experiment bench/observer.yaml

# Write generated files anew: snapshots, the JSON schema, the pictures of the dashboard.
bless:
    INSTA_UPDATE=always LAB_BLESS=1 cargo test --workspace
