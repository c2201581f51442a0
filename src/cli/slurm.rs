//! The script that runs an experiment on a cluster with Slurm. It is printed, and submitted by the user.

use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;
use vigor::run::RunConfig;

use super::exit::{FAILURE, Failure};

/// The resources of the script.
#[derive(Args)]
pub struct Slurm {
    /// Print a script for sbatch that runs the experiment as an array of processes, instead of running it.
    #[arg(long, conflicts_with = "shard")]
    pub slurm: bool,
    /// Processes of the array.
    #[arg(long, value_name = "N", default_value = "4", requires = "slurm", value_parser = clap::value_parser!(u32).range(1..))]
    slurm_tasks: u32,
    /// Processors for each process.
    #[arg(long, value_name = "N", default_value = "8", requires = "slurm", value_parser = clap::value_parser!(u32).range(1..))]
    slurm_cpus: u32,
    /// Memory for each process, as sbatch takes it.
    #[arg(long, value_name = "SIZE", default_value = "16G", requires = "slurm", value_parser = plain)]
    slurm_mem: String,
    /// Time limit of each process, as sbatch takes it.
    #[arg(long, value_name = "TIME", default_value = "04:00:00", requires = "slurm", value_parser = plain)]
    slurm_time: String,
    /// GPUs for each process: a number, or TYPE:NUMBER.
    #[arg(long, value_name = "GPUS", requires = "slurm", value_parser = gpus)]
    slurm_gpus: Option<String>,
    /// Partition to submit to.
    #[arg(long, value_name = "NAME", requires = "slurm", value_parser = plain)]
    slurm_partition: Option<String>,
    /// Account to charge.
    #[arg(long, value_name = "NAME", requires = "slurm", value_parser = plain)]
    slurm_account: Option<String>,
}

/// What may stand in a directive, where Slurm has its own rules for quotes: nothing that would need any.
fn plain(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:,+=".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("only letters, digits and . _ - : , + = can stand here".into())
    }
}

fn gpus(text: &str) -> Result<String, String> {
    match number_of_gpus(text) {
        Some(1..) => plain(text),
        _ => Err("a number of GPUs is needed, or TYPE:NUMBER, for example 1 or a100:2".into()),
    }
}

fn number_of_gpus(text: &str) -> Option<usize> {
    text.rsplit(':').next()?.parse().ok()
}

impl Slurm {
    /// The script for `config` in folder `out`; `arguments` are those of the command that each process runs.
    pub fn script(&self, config: &RunConfig, out: &Path, arguments: &[OsString]) -> Result<String, Failure> {
        let program = std::env::current_exe();
        let program =
            program.map_err(|e| Failure::message(FAILURE, format!("cannot find this program: {e}")))?;
        let folder = std::env::current_dir();
        let folder =
            folder.map_err(|e| Failure::message(FAILURE, format!("cannot find this folder: {e}")))?;
        let given = |name: &str| arguments.iter().any(|a| a == name);
        let name = &config.run.name;

        let mut directives = vec![
            format!("--job-name=vigor-{name}"),
            format!("--array=0-{}", self.slurm_tasks - 1),
            "--ntasks=1".to_owned(),
            format!("--cpus-per-task={}", self.slurm_cpus),
            format!("--mem={}", self.slurm_mem),
            format!("--time={}", self.slurm_time),
        ];
        directives.extend(self.slurm_gpus.iter().map(|gpus| format!("--gres=gpu:{gpus}")));
        directives.extend(self.slurm_partition.iter().map(|name| format!("--partition={name}")));
        directives.extend(self.slurm_account.iter().map(|name| format!("--account={name}")));
        directives.push(format!("--output=vigor-{name}-%A_%a.log"));
        directives.push("--open-mode=append".to_owned());

        let mut command: Vec<String> = std::iter::once(program.as_os_str())
            .chain(arguments.iter().map(OsString::as_os_str))
            .map(quoted)
            .collect();
        if !given("--out") {
            command.extend(["--out".into(), quoted(out.as_os_str())]);
        }
        if !given("--offline") {
            command.push("--offline".into());
        }
        if !given("--threads") {
            command.push("--threads \"$SLURM_CPUS_PER_TASK\"".into());
        }
        let gpus = self.slurm_gpus.as_deref().and_then(number_of_gpus).unwrap_or(0);
        if gpus > 0 && !given("--device") {
            command.push("--device cuda".into());
        }
        if gpus > 1 && !given("--devices") {
            let all: Vec<String> = (0..gpus).map(|gpu| gpu.to_string()).collect();
            command.push(format!("--devices {}", all.join(",")));
        }

        let mut script = format!(
            "#!/bin/bash\n\
             # Runs the experiment {name} as an array of {} processes. Submit it with sbatch.\n\
             #\n\
             # All processes share one folder, which every node must see. Each takes the next session that no other has, so\n\
             # none waits for a slow one, and they may start at any time, in any number: to have more, submit this again. What\n\
             # a process was computing when it ended is taken up by the others.\n\
             #\n\
             # Nodes often have no network, and one download is enough for all: the processes run with --offline. Fetch model and\n\
             # dataset first, where there is a network, with: vigor pull\n",
            self.slurm_tasks
        );
        for directive in directives {
            let _ = writeln!(script, "#SBATCH {directive}");
        }
        script.push_str(
            "# A job that is preempted, or whose node fails, is queued again and goes on.\n\
             #SBATCH --requeue\n\
             # Two minutes before the time limit the process is told to end: it gives back what it has not finished.\n\
             # Submitted again, the run goes on.\n\
             #SBATCH --signal=TERM@120\n\n",
        );
        let _ = writeln!(script, "cd {} || exit 1", quoted(folder.as_os_str()));
        script.push_str(
            "# A step of its own gets the signals of Slurm, which the script does not. Processors are not passed on to it by\n\
             # themselves.\n",
        );
        let _ = writeln!(script, "exec srun --cpus-per-task=\"$SLURM_CPUS_PER_TASK\" {}", command.join(" "));
        Ok(script)
    }
}

/// A word as the shell reads it back.
fn quoted(word: &OsStr) -> String {
    let bytes = word.as_bytes();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"/._-:,+=@".contains(b);
    match word.to_str() {
        Some(text) if !text.is_empty() && bytes.iter().all(plain) => text.to_owned(),
        // A quote ends the quoted text, stands for itself, and begins it again.
        Some(text) if !text.contains(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let byte = |b: &u8| if plain(b) { char::from(*b).to_string() } else { format!("\\x{b:02x}") };
            format!("$'{}'", bytes.iter().map(byte).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use clap::{Parser, Subcommand};

    use super::super::run::Run;
    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(subcommand)]
        command: OnlyRun,
    }

    #[derive(Subcommand)]
    enum OnlyRun {
        Run(Box<Run>),
    }

    fn script(arguments: &[&str]) -> String {
        let all = ["vigor", "run", "x.toml", "--slurm"].iter().chain(arguments);
        let OnlyRun::Run(run) = Only::parse_from(all).command;
        let text = "[run]\nname = \"mine\"\n[model]\nname = \"m\"\n[dataset]\nname = \"d\"\n[[method]]\nmethod = \"greedy\"\n";
        let config = RunConfig::parse(text, Path::new("x.toml")).unwrap();
        let Ok(script) = run.script(&config) else { panic!("no script") };
        script
    }

    #[test]
    fn the_shell_reads_back_every_word() {
        for word in
            ["plain", "", "two words", "it's", "$HOME `id` \\ \"x\"", "-n", "a\nb\t*", "ü γ", "\u{1}'"]
        {
            let said = Command::new("bash")
                .args(["-c", &format!("printf '%s\\n' {}", quoted(OsStr::new(word)))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("{word}\n"), "{word:?}");
        }
        let broken = OsStr::from_bytes(b"\xff'x");
        let said =
            Command::new("bash").args(["-c", &format!("printf %s {}", quoted(broken))]).output().unwrap();
        assert_eq!(said.stdout, b"\xff'x");
    }

    #[test]
    fn every_argument_of_the_run_is_in_the_script() {
        let given = [
            "--out",
            "a folder",
            "--concurrency",
            "3",
            "--lease",
            "77",
            "--threads",
            "5",
            "--device",
            "cpu",
            "--devices",
            "1,2",
            "--gpu-memory",
            "0.5",
            "--kv-memory",
            "99",
            "--quantize",
            "q4_k",
            "--python",
            "/opt/my python",
            "--allow-weaker-sandbox",
            "--offline",
        ];
        let script = script(&given);
        for word in given {
            assert!(script.contains(word), "{word} is not in\n{script}");
        }
        // An option that is added to the command must come here, too.
        let elsewhere = ["--shard", "--no-sandbox", "--tui", "--help"];
        let command = <OnlyRun as Subcommand>::augment_subcommands(clap::Command::new("x"));
        let run = command.find_subcommand("run").unwrap();
        for option in run.get_arguments().filter_map(|a| a.get_long()) {
            let option = format!("--{option}");
            let known = option.starts_with("--slurm") || elsewhere.contains(&option.as_str());
            assert!(known || given.contains(&option.as_str()), "{option} is not passed on");
        }
    }

    #[test]
    fn resources_are_asked_for_as_given() {
        let plain = script(&[]);
        for line in
            ["--array=0-3", "--job-name=vigor-mine", "--requeue", "--signal=TERM@120", "--time=04:00:00"]
        {
            assert!(plain.contains(&format!("#SBATCH {line}\n")), "{line}:\n{plain}");
        }
        assert!(plain.contains(" --offline") && plain.contains("--out runs/mine"), "{plain}");
        assert!(!plain.contains("--gres") && !plain.contains("--device"), "{plain}");
        let script = script(&[
            "--slurm-tasks",
            "16",
            "--slurm-gpus",
            "a100:2",
            "--slurm-cpus",
            "12",
            "--slurm-mem",
            "64G",
            "--slurm-time",
            "1-00",
            "--slurm-partition",
            "gpu",
            "--slurm-account",
            "lab",
        ]);
        for line in [
            "--array=0-15",
            "--gres=gpu:a100:2",
            "--cpus-per-task=12",
            "--mem=64G",
            "--time=1-00",
            "--partition=gpu",
            "--account=lab",
        ] {
            assert!(script.contains(&format!("#SBATCH {line}\n")), "{line}:\n{script}");
        }
        assert!(script.contains("--device cuda --devices 0,1\n"), "{script}");
    }

    #[test]
    fn what_could_break_a_directive_is_refused() {
        for (option, value) in [
            ("--slurm-time", "1:00\n#SBATCH --x"),
            ("--slurm-partition", "a b"),
            ("--slurm-account", "$(id)"),
            ("--slurm-mem", ""),
            ("--slurm-gpus", "0"),
            ("--slurm-gpus", "a100"),
            ("--slurm-tasks", "0"),
            ("--slurm-account", "--wrap=id"),
        ] {
            let arguments = ["vigor", "run", "x.toml", "--slurm", option, value];
            assert!(Only::try_parse_from(arguments).is_err(), "{option} {value:?}");
        }
        assert!(Only::try_parse_from(["vigor", "run", "x.toml", "--slurm-tasks", "2"]).is_err());
        assert!(Only::try_parse_from(["vigor", "run", "x.toml", "--slurm", "--shard", "0/2"]).is_err());
    }
}
