//! `vigor doctor`: what this machine offers.

use clap::Args;
use vigor::model::cpu::Isa;
use vigor::model::device::gpus;
use vigor::sandbox::{Capability, Policy, PoolConfig, Python, effective};
use vigor::source::{Kind, Places, located, manifests};

use super::exit::{Failure, SANDBOX};
use super::say::say;

/// Show what this machine offers: device, threads, vector instructions, Python, sandbox, models.
#[derive(Args)]
#[command(after_help = "Example:\n  vigor doctor --python /usr/bin/python3.12")]
pub struct Doctor {
    /// Python interpreter that would run the programs.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: std::path::PathBuf,
}

pub fn doctor(args: &Doctor) -> Result<(), Failure> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    say!("vigor    {}", env!("CARGO_PKG_VERSION"));
    say!("device   cpu ({} threads, {})", threads, Isa::detect().name());
    match gpus() {
        Err(error) => say!("gpu      {error}"),
        Ok(gpus) if gpus.is_empty() => {
            let why = if cfg!(feature = "cuda") { "none found" } else { "not supported by this build" };
            say!("gpu      {why}");
        }
        Ok(gpus) => {
            for gpu in gpus {
                let (major, minor) = (gpu.capability / 10, gpu.capability % 10);
                let memory = gpu.memory_bytes as f64 / f64::from(1 << 30);
                let usable = if gpu.is_usable() { "" } else { ", too old: 8.0 is needed" };
                say!(
                    "gpu {:<4} {} (compute capability {major}.{minor}, {memory:.0} GiB{usable})",
                    gpu.ordinal,
                    gpu.name
                );
            }
        }
    }

    let places = Places::from_env()?;
    say!("cache    {}", places.cache.display());
    for kind in [Kind::Model, Kind::Dataset] {
        for manifest in manifests(kind, &places)? {
            let here = match located(&manifest, &places) {
                Some(path) => path.display().to_string(),
                None => format!("not here; `vigor pull {}`", manifest.name),
            };
            say!("{:<8} {}: {here}", kind.to_string(), manifest.name);
        }
    }

    let python = Python::resolve(&args.python)?;
    say!("python   {} ({})", python.version, python.executable.display());
    let layers = effective(PoolConfig {
        python: args.python.clone(),
        policy: Policy::BestEffort,
        ..PoolConfig::default()
    })?;
    for layer in &layers {
        say!("sandbox  {} {:<18} {}", if layer.active { "✓" } else { "✗" }, layer.name, layer.detail);
    }
    for promise in Capability::ALL {
        match promise.kept_by(&layers)[..] {
            [] => say!("promise  ✗ {promise} (needs {})", promise.keepers().join(" or ")),
            ref keepers => say!("promise  ✓ {promise} ({})", keepers.join(", ")),
        }
    }
    let missing = Capability::missing(&layers);
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        return Err(Failure::message(
            SANDBOX,
            format!(
                "the sandbox cannot promise: {}; programs run only with --allow-weaker-sandbox",
                names.join(", ")
            ),
        ));
    }
    Ok(())
}
