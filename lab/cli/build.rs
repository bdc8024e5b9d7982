//! How the binary is linked: smaller where the linker and the C library are known to be able to, as images of services hold it whole.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // There the toolchain brings its own linker, which folds functions of equal code.
    if std::env::var("TARGET").as_deref() != Ok("x86_64-unknown-linux-gnu") {
        return;
    }
    println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    if knows_packed_relocations().unwrap_or(false) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Whether the C library is 2.36 or later; None: it does not say.
fn knows_packed_relocations() -> Option<bool> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?) >= (2_u32, 36_u32))
}
