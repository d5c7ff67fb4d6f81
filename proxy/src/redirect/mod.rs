//! Traffic capture for one pod: `ostria-proxy init` puts nftables rules in front of every TCP connection and
//! DNS query of the network namespace it runs in, so that applications join the mesh without knowing it.
//!
//! It takes the flags of `istio-iptables`, so an injected pod may come from either injector. The rules live in
//! one table, `inet ostria`, and are exchanged in one transaction: there is no moment with half of them. What the
//! rules are is decided in `rules`, without touching the machine; `apply` and `verify` are the only parts that do.

pub mod verify;

pub mod apply;

pub mod rules;

pub mod settings;

pub mod args;

pub mod error;

use crate::redirect::{args::InitArgs, error::RedirectError, rules::Surroundings, settings::Settings};

/// What the `init` verb does: print, apply, check or remove the capture rules of this network namespace.
pub fn run(args: &InitArgs) -> Result<(), RedirectError> {
    if args.cleanup_only {
        return perform(rules::REMOVAL, args.dry_run);
    }
    let settings = Settings::parse(args)?;
    let surroundings = surroundings(args, &settings)?;
    if !args.skip_rule_apply {
        perform(&rules::script(&settings, &surroundings), args.dry_run)?;
    }
    if args.run_validation && !args.dry_run {
        verify::capture_works(&settings, args.probe_port, args.probe_timeout())?;
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
    Ok(Surroundings { nameservers, ipv6: args.dual_stack || apply::has_global_ipv6() })
}

#[cfg(test)]
mod tests;
