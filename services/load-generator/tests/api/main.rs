//! The control API as a black box: the router without a port, a real engine behind it, a small target before it.

mod access;
mod lifetime;
mod load;
mod rig;
