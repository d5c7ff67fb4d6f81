//! Pure. `ostria proxy-config` and `ostria proxy-status POD`: a proxy's `/config_dump` as tables like istioctl's, and
//! compared with pilot's.

pub mod clusters;
pub mod compare;
pub mod ecds;
pub mod endpoints;
pub mod listeners;
pub mod log;
pub mod routes;
pub mod secrets;

pub mod dump;
