//! Pure. `ostria proxy-config`: a proxy's `/config_dump` as tables like istioctl's.

pub mod clusters;
pub mod endpoints;
pub mod listeners;
pub mod routes;
pub mod secrets;

pub mod dump;
