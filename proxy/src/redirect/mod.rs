//! Traffic capture for one pod: `ostria-proxy init` puts nftables rules in front of every TCP connection and
//! DNS query of the network namespace it runs in, so that applications join the mesh without knowing it.
//!
//! It takes the flags of `istio-iptables`, so an injected pod may come from either injector. The rules live in
//! one table, `inet ostria`, for both families of IP, and are exchanged in one transaction: there is no moment with
//! half of them. What the rules are is decided in `rules`, without touching the machine; `address`, `apply` and
//! `verify` are the only parts that do.

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
    rules::{Ipv6, Surroundings},
    settings::Settings,
    verify::Probe,
};

/// What the `init` verb does: print, apply, check or remove the capture rules of this network namespace.
pub fn run(args: &InitArgs) -> Result<(), RedirectError> {
    if args.cleanup_only {
        perform(rules::REMOVAL, args.dry_run)?;
        return if args.dry_run { Ok(()) } else { address::remove().map_err(RedirectError::Address) };
    }
    let settings = Settings::parse(args)?;
    let surroundings = surroundings(args, &settings)?;
    if !args.skip_rule_apply {
        perform(&rules::script(&settings, &surroundings), args.dry_run)?;
        if surroundings.ipv6 == Ipv6::Captured && !args.dry_run {
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

/// Reads from the machine only what the flags leave open.
fn surroundings(args: &InitArgs, settings: &Settings) -> Result<Surroundings, RedirectError> {
    let nameservers =
        if settings.needs_nameservers() { apply::nameservers(&args.resolv_conf)? } else { Vec::new() };
    let ipv6 = if args.dual_stack { Ipv6::Captured } else { apply::ipv6() };
    Ok(Surroundings { nameservers, ipv6 })
}

#[cfg(test)]
mod tests;
