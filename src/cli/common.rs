//! Arguments and steps that several commands share.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vigor::model::device::{Placement, Wanted};
use vigor::model::quant::WeightType;
use vigor::model::random;
use vigor::run::config::SandboxPolicy;
use vigor::run::{Workbench, WorkbenchOptions};
use vigor::sandbox::{Limits, Policy, PoolConfig};
use vigor::session::method::PromptTemplates;
use vigor::source::{FetchOptions, Kind, Origin, Resolved, resolve};
use vigor::task::{ADAPTERS, Task, load};

use super::Interrupt;
use super::exit::{BAD_INPUT, Failure, USAGE};
use super::progress::Downloads;
use super::say::tell;

/// What computes, and with how much.
#[derive(Args, Clone)]
pub struct Machine {
    /// Threads for the model [default: all processors].
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// What computes the model.
    #[arg(long, value_name = "DEVICE", value_enum, default_value_t)]
    pub device: Device,
    /// Numbers of the GPUs to use, as `vigor doctor` shows them: each runs sessions of its own, or, where the model is too
    /// large for one, a part of its layers [default: 0].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    pub devices: Vec<usize>,
    /// Share of a GPU's memory that may be in use in all, that of other programs included.
    #[arg(long, value_name = "SHARE", default_value = "0.9", value_parser = share)]
    pub gpu_memory: f64,
    /// Memory for keys and values in MiB [default: 3072; on a GPU what its share leaves].
    #[arg(long, value_name = "MIB")]
    pub kv_memory: Option<usize>,
    /// Quantise dense weights when the model is loaded: q8_0, q6_k, q5_k, q4_k, q4_0 and others of ggml's types. Results depend
    /// on it, and a run records it.
    #[arg(long, value_name = "TYPE")]
    pub quantize: Option<WeightType>,
    /// Python interpreter that runs the programs, version 3.9 or later.
    #[arg(long, value_name = "PATH", default_value = "python3")]
    pub python: PathBuf,
    #[command(flatten)]
    pub isolation: Isolation,
    /// Use only files that are here already; open no connection.
    #[arg(long)]
    pub offline: bool,
}

/// How much of the sandbox must hold.
#[derive(Args, Clone)]
pub struct Isolation {
    /// Run with whatever isolation the kernel offers, even if a part is missing.
    #[arg(long, conflicts_with = "no_sandbox")]
    pub allow_weaker_sandbox: bool,
    /// Run with limits on time and memory only: for programs that you would run yourself.
    #[arg(long)]
    pub no_sandbox: bool,
}

impl Isolation {
    pub fn policy(&self) -> Policy {
        if self.no_sandbox {
            Policy::Off
        } else if self.allow_weaker_sandbox {
            Policy::BestEffort
        } else {
            Policy::Strict
        }
    }

    /// The policy where a configuration asks for one, too. What a flag says counts; that nothing is to hold, a
    /// configuration alone cannot say.
    pub fn policy_with(&self, configured: SandboxPolicy) -> Result<Policy, Failure> {
        match (self.policy(), configured) {
            (Policy::Strict, SandboxPolicy::Off) => Err(Failure::message(
                USAGE,
                "the configuration says policy = \"off\" in [sandbox], which runs programs of a model without \
                 isolation: give --no-sandbox, too, if that is meant",
            )),
            (Policy::Strict, SandboxPolicy::BestEffort) => Ok(Policy::BestEffort),
            (flag, _) => Ok(flag),
        }
    }
}

/// What computes a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Device {
    /// A GPU where there is one, else the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

fn share(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(share) if share > 0.0 && share <= 1.0 => Ok(share),
        _ => Err("a number above 0 and up to 1 is needed".into()),
    }
}

impl Machine {
    pub fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.filter(|&n| n > 0).unwrap_or_else(all)
    }

    /// The arguments again, as far as they are not the defaults, for a command that runs elsewhere.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |name: &str, value: String| arguments.extend([name.into(), value.into()]);
        if let Some(threads) = self.threads {
            add("--threads", threads.to_string());
        }
        match self.device {
            Device::Auto => {}
            Device::Cpu => add("--device", "cpu".into()),
            Device::Cuda => add("--device", "cuda".into()),
        }
        if !self.devices.is_empty() {
            add("--devices", self.devices.iter().map(usize::to_string).collect::<Vec<_>>().join(","));
        }
        add("--gpu-memory", self.gpu_memory.to_string());
        if let Some(memory) = self.kv_memory {
            add("--kv-memory", memory.to_string());
        }
        if let Some(dtype) = self.quantize {
            add("--quantize", dtype.shown());
        }
        arguments.extend(["--python".into(), self.python.clone().into()]);
        for (name, given) in [
            ("--allow-weaker-sandbox", self.isolation.allow_weaker_sandbox),
            ("--no-sandbox", self.isolation.no_sandbox),
            ("--offline", self.offline),
        ] {
            if given {
                arguments.push(name.into());
            }
        }
        arguments
    }

    /// Where the model is to run.
    pub fn placement(&self) -> Result<Placement, Failure> {
        let device = match self.device {
            Device::Auto => Wanted::Auto,
            Device::Cpu if !self.devices.is_empty() => {
                return Err(Failure::message(USAGE, "--devices names GPUs; leave it out, or --device cpu"));
            }
            Device::Cpu => Wanted::Cpu,
            Device::Cuda => Wanted::Cuda,
        };
        if (1..self.devices.len()).any(|i| self.devices[..i].contains(&self.devices[i])) {
            return Err(Failure::message(USAGE, "--devices names a GPU twice"));
        }
        Ok(Placement {
            device,
            gpus: self.devices.clone(),
            gpu_memory: self.gpu_memory,
            kv_bytes: self.kv_memory.map(|mib| mib.max(1) << 20),
            quantise: self.quantize,
        })
    }

    /// Programs that run at once.
    pub fn workers(&self) -> usize {
        processors()
    }

    /// The sandbox without a configuration that says more.
    pub fn sandbox(&self) -> PoolConfig {
        PoolConfig {
            python: self.python.clone(),
            workers: self.workers(),
            policy: self.isolation.policy(),
            ..PoolConfig::default()
        }
    }

    /// Finds a model or dataset, fetching it where that is needed and allowed.
    pub fn find(&self, name: &str, kind: Kind) -> Result<Resolved, Failure> {
        find(name, kind, self.offline)
    }

    pub fn workbench(
        &self,
        model: &Resolved,
        prompts: &PromptTemplates,
        limits: Limits,
        sandbox: PoolConfig,
        interrupt: &Interrupt,
    ) -> Result<Workbench, Failure> {
        Ok(Workbench::open(&WorkbenchOptions {
            model,
            threads: self.threads(),
            placement: &self.placement()?,
            prompts,
            limits,
            sandbox,
            interrupt: interrupt.clone(),
        })?)
    }
}

/// Processors that this process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// A time limit as typed.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.trim().parse() {
        Ok(seconds) if seconds > 0.0 && seconds <= 86_400.0 => Ok(seconds),
        _ => Err("a number of seconds above 0 is needed, a day at most".into()),
    }
}

/// A count as typed.
pub fn one_or_more(text: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("a whole number of at least 1 is needed".into()),
    }
}

/// Finds a model or dataset, fetching it where that is needed and allowed.
pub fn find(name: &str, kind: Kind, offline: bool) -> Result<Resolved, Failure> {
    if kind == Kind::Model && name.starts_with(random::PREFIX) {
        tell!("note: random weights: this tells how fast a model is, and nothing else");
        return Ok(Resolved {
            name: name.to_owned(),
            kind,
            path: name.into(),
            files: Vec::new(),
            manifest: None,
            sha256: name.to_owned(),
            origin: Origin::Path,
        });
    }
    let downloads = Downloads::new();
    let report = |progress: vigor::source::Progress<'_>| downloads.show(progress);
    let resolved = resolve(name, kind, &FetchOptions { offline, progress: &report });
    downloads.finish();
    Ok(resolved?)
}

/// The adapter that reads a dataset: the manifest's unless one is given.
pub fn adapter_of<'a>(dataset: &'a Resolved, adapter: Option<&'a str>) -> Result<&'a str, Failure> {
    let own = dataset.manifest.as_ref().and_then(|m| m.adapter.as_deref());
    adapter.or(own).ok_or_else(|| {
        Failure::message(
            BAD_INPUT,
            format!(
                "{}: say how to read it, with --adapter or `adapter` in [dataset]: one of {}",
                dataset.path.display(),
                ADAPTERS.join(", ")
            ),
        )
    })
}

/// Reads the tasks of a dataset; the adapter is the manifest's unless one is given.
pub fn tasks_of(dataset: &Resolved, adapter: Option<&str>) -> Result<Vec<Task>, Failure> {
    Ok(load(adapter_of(dataset, adapter)?, &dataset.path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_alone_cannot_switch_the_sandbox_off() {
        let none = Isolation { allow_weaker_sandbox: false, no_sandbox: false };
        let weaker = Isolation { allow_weaker_sandbox: true, ..none.clone() };
        let off = Isolation { no_sandbox: true, ..none.clone() };
        let policy =
            |flags: &Isolation, configured| flags.policy_with(configured).map_err(|failure| failure.code);
        assert_eq!(policy(&none, SandboxPolicy::Off), Err(USAGE));
        assert_eq!(policy(&weaker, SandboxPolicy::Off), Ok(Policy::BestEffort));
        assert_eq!(policy(&none, SandboxPolicy::Strict), Ok(Policy::Strict));
        assert_eq!(policy(&none, SandboxPolicy::BestEffort), Ok(Policy::BestEffort));
        for configured in [SandboxPolicy::Strict, SandboxPolicy::BestEffort, SandboxPolicy::Off] {
            assert_eq!(policy(&off, configured), Ok(Policy::Off));
        }
    }
}
