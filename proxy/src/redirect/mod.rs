//! Traffic capture for one pod. `ostria-proxy init` installs nftables rules that redirect every TCP connection and
//! DNS query of its network namespace, so that applications join the mesh without knowing it.
//!
//! It accepts the flags of `istio-iptables`, so a pod may be injected by either injector. The rules are in one
//! table, `inet ostria`, for both IP families, and are replaced in one transaction: the namespace never has only a
//! part of them. `rules` generates them without touching the machine; only `address`, `apply` and `verify` do.

pub mod verify;

pub mod address;
pub mod apply;

pub mod rules;

pub mod settings;

pub mod args;

pub mod error;

use crate::redirect::{
    args::InitArgs,
    error::RedirectError,
    rules::{Ipv6, PodFacts},
    settings::Settings,
    verify::Probe,
};

/// Runs the `init` verb: prints, applies, verifies or removes the capture rules of this network namespace.
pub fn run(args: &InitArgs) -> Result<(), RedirectError> {
    if args.cleanup_only {
        perform(rules::REMOVAL, args.dry_run)?;
        return if args.dry_run { Ok(()) } else { address::remove().map_err(RedirectError::Address) };
    }
    let settings = Settings::parse(args)?;
    let pod = pod(args, &settings)?;
    if !args.skip_rule_apply {
        perform(&rules::script(&settings, &pod), args.dry_run)?;
        if pod.ipv6 == Ipv6::Captured && !args.dry_run {
            address::add().map_err(RedirectError::Address)?;
        }
    }
    if args.run_validation && !args.dry_run {
        if settings::excludes_loopback(&args.istio_exclude_interfaces) {
            eprintln!(
                "ostria-proxy: the rules are not tested: the loopback interface is excluded from capture"
            );
            return Ok(());
        }
        let probe = Probe {
            inbound_port: settings.inbound_port,
            port: args.probe_port,
            mark: Some(settings.own.mark),
            timeout: args.probe_timeout(),
        };
        verify::capture_works(&probe)?;
    }
    Ok(())
}

fn perform(script: &str, dry_run: bool) -> Result<(), RedirectError> {
    if dry_run {
        print!("{script}");
        return Ok(());
    }
    apply::apply(script)
}

/// Reads from the machine only what the flags do not specify.
fn pod(args: &InitArgs, settings: &Settings) -> Result<PodFacts, RedirectError> {
    let nameservers =
        if settings.needs_nameservers() { apply::nameservers(&args.resolv_conf)? } else { Vec::new() };
    let ipv6 = if args.dual_stack { Ipv6::Captured } else { apply::ipv6() };
    Ok(PodFacts { nameservers, ipv6 })
}

#[cfg(test)]
mod tests;
