//! Experiments as users write them: what they mean, and what they are told when they are wrong.

mod fake_run;

use std::path::Path;

use vigor::run::config::SandboxPolicy;
use vigor::run::{RunConfig, select_tasks};
use vigor::session::method::{MethodConfig, Sampler};

const HEAD: &str = "[run]\nname = \"x\"\n[model]\nname = \"m\"\n[dataset]\nname = \"humaneval\"\n";

fn parse(rest: &str) -> Result<RunConfig, String> {
    RunConfig::parse(&format!("{HEAD}{rest}"), Path::new("configs/x.toml")).map_err(|error| error.to_string())
}

fn names(rest: &str) -> Vec<String> {
    parse(rest).unwrap().cells().iter().map(|cell| cell.name.clone()).collect()
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = parse("[[method]]\nmethod = \"eg-cfg\"\n[[method]]\nmethod = \"sample\"\n").unwrap();
    let limits = config.limits();
    assert_eq!((config.run.seed.all(), config.run.concurrency), (&[0][..], 1));
    assert_eq!((limits.max_lines, limits.max_tokens, limits.max_seconds), (100, 400, None));
    assert_eq!(config.out_dir(), Path::new("runs/x"));
    assert_eq!((config.sandbox.policy, config.sandbox.memory_mb), (SandboxPolicy::Strict, 512));
    let MethodConfig::EgCfg(eg_cfg) = &config.cells()[0].config else { panic!("not eg-cfg") };
    assert_eq!((eg_cfg.sampling.n, eg_cfg.sampling.temperature, eg_cfg.sampling.top_p), (3, 0.75, 0.95));
    assert_eq!((eg_cfg.horizon, eg_cfg.gamma, eg_cfg.sample_line), (3, 1.0, false));
    assert_eq!(eg_cfg.signal.max_chars, 2000);
    let MethodConfig::Sample(sample) = &config.cells()[1].config else { panic!("not sample") };
    assert_eq!((sample.sampling.n, sample.sampling.temperature, sample.sampling.top_p), (5, 0.8, 0.95));
}

#[test]
fn programs_get_files_and_packages_only_where_that_is_said() {
    let sandbox = |text: &str| parse(&format!("[[method]]\nmethod = \"greedy\"\n{text}")).unwrap().sandbox;
    let plain = sandbox("");
    assert_eq!((plain.scratch_mb, plain.preload.len()), (None, 0));
    let more = sandbox("[sandbox]\nscratch_mb = 16\npreload = [\"numpy\"]\npolicy = \"off\"\n");
    assert_eq!((more.scratch_mb, more.policy), (Some(16), SandboxPolicy::Off));
    assert_eq!(more.preload, ["numpy"]);
}

#[test]
fn a_grid_goes_through_its_parameters_alphabetically_and_the_last_varies_fastest() {
    let cells = names("[[method]]\nmethod = \"eg-cfg\"\ntemperature = [0.7, 0.9]\ngamma = [3, 0.5]\nn = 3\n");
    assert_eq!(cells, ["eg-cfg γ=3 T=0.7", "eg-cfg γ=3 T=0.9", "eg-cfg γ=0.5 T=0.7", "eg-cfg γ=0.5 T=0.9"]);
}

#[test]
fn names_hold_only_what_varies_within_the_run() {
    let cells = names(
        "[[method]]\nmethod = \"greedy\"\n[[method]]\nmethod = \"vigor\"\nn = 7\n\
         [[method]]\nmethod = \"eg-cfg\"\ngamma = 1.0\n[[method]]\nmethod = \"eg-cfg\"\ngamma = 3\nsample_line = true\n\
         [[method]]\nmethod = \"sample\"\nsampler = [\"beam\", \"stochastic-beam\"]\n",
    );
    assert_eq!(
        cells,
        [
            "greedy",
            "vigor",
            "eg-cfg γ=1 sample_line=false",
            "eg-cfg γ=3 sample_line=true",
            "sample sampler=beam",
            "sample sampler=stochastic-beam"
        ]
    );
}

#[test]
fn large_seeds_keep_all_their_digits() {
    let cells = names("[[method]]\nmethod = \"greedy\"\nseed = [9007199254740992, 9007199254740993]\n");
    assert_eq!(cells, ["greedy seed=9007199254740992", "greedy seed=9007199254740993"]);
}

#[test]
fn small_numbers_are_written_short() {
    let cells = names("[[method]]\nmethod = \"eg-cfg\"\nepsilon = [0, 1e-8, 0.01]\n");
    assert_eq!(cells, ["eg-cfg epsilon=0", "eg-cfg epsilon=1e-8", "eg-cfg epsilon=0.01"]);
}

#[test]
fn parameters_arrive_where_they_belong() {
    let config = parse(
        "[[method]]\nmethod = \"eg-cfg\"\nn = 4\nsampler = \"stochastic-beam\"\ntemperature = 1\ntop_k = 50\n\
         top_p = 0.9\nhorizon = 2\ngamma = 3\nsample_line = true\nline_temperature = 0.2\n\
         signal_max_chars = 900\nsignal_max_events = 10\nsignal_max_value = 20\n",
    )
    .unwrap();
    let MethodConfig::EgCfg(c) = &config.cells()[0].config else { panic!("not eg-cfg") };
    assert_eq!((c.sampling.n, c.sampling.sampler, c.sampling.top_k), (4, Sampler::StochasticBeam, 50));
    assert_eq!((c.sampling.temperature, c.sampling.top_p, c.horizon, c.gamma), (1.0, 0.9, 2, 3.0));
    assert_eq!((c.sample_line, c.line_temperature), (true, 0.2));
    assert_eq!((c.signal.max_chars, c.signal.max_events, c.signal.max_value), (900, 10, 20));
    let json = serde_json::to_string(&config.cells()[0]).unwrap();
    assert_eq!(serde_json::from_str::<vigor::run::Cell>(&json).unwrap(), config.cells()[0]);
}

#[test]
fn faults_are_told_with_file_line_key_and_what_is_allowed() {
    let faults: [(&str, &[&str]); 17] = [
        ("", &["configs/x.toml:7", "[[method]]", "nothing to run"]),
        ("[[method]]\nn = 3\n", &["configs/x.toml:7", "no key `method`", "\"eg-cfg\""]),
        (
            "[[method]]\nmethod = \"magic\"\n",
            &["x.toml:8", "no method \"magic\"", "\"greedy\", \"sample\", \"vigor\""],
        ),
        (
            "[[method]]\nmethod = \"greedy\"\nn = 3\n",
            &["x.toml:9", "\"greedy\" has no parameter `n`", "are: prompt, seed"],
        ),
        (
            "[[method]]\nmethod = \"sample\"\ngama = 3\n",
            &["x.toml:9", "no parameter `gama`", "n, sampler, temperature, top_k, top_p"],
        ),
        (
            "[[method]]\nmethod = \"sample\"\nn = [1, 0]\n",
            &["x.toml:9", "`n`", "0 is not allowed", "from 1 to"],
        ),
        ("[[method]]\nmethod = \"sample\"\nn = -1\n", &["x.toml:9", "`n`", "-1"]),
        ("[[method]]\nmethod = \"sample\"\nn = []\n", &["x.toml:9", "`n`", "empty list"]),
        ("[[method]]\nmethod = \"sample\"\ntop_p = 1.5\n", &["x.toml:9", "`top_p`", "1.5", "at most 1"]),
        (
            "[[method]]\nmethod = \"sample\"\nsampler = \"bem\"\n",
            &["x.toml:9", "`sampler`", "bem", "`temperature`, `beam`, `stochastic-beam`"],
        ),
        ("[[method]]\nmethod = \"eg-cfg\"\ngamma = \"x\"\n", &["x.toml:9", "`gamma`", "f64"]),
        ("[[method]]\nmethod = \"eg-cfg\"\ngamma = inf\n", &["x.toml:9", "`gamma`"]),
        (
            "[[method]]\nmethod = \"sample\"\nn = 2\n[[method]]\nmethod = \"sample\"\nn = 2\n",
            &["x.toml:10", "repeats", "n = 2"],
        ),
        (
            "[sandbox]\npolicy = \"none\"\n",
            &["configs/x.toml", "line 8", "policy", "`strict`", "`best-effort`"],
        ),
        ("[sandbox]\nscratch_mb = 0\n", &["line 8", "scratch_mb", "at least 1"]),
        ("[sandbox]\nwall_seconds = 0\n", &["line 8", "wall_seconds", "above 0"]),
        ("[dataset2]\n", &["line 7", "unknown field `dataset2`", "`sandbox`"]),
    ];
    for (text, says) in faults {
        let error = parse(text).unwrap_err();
        for part in says {
            assert!(error.contains(part), "{text:?} should be told {part:?}, is told: {error}");
        }
    }
    let missing = RunConfig::parse("[run]\nname = \"a/b\"\n", Path::new("y.toml")).unwrap_err().to_string();
    assert!(missing.contains("line 2") && missing.contains("a/b"), "{missing}");
    let absent = RunConfig::load(Path::new("no/such.toml")).unwrap_err().to_string();
    assert!(absent.contains("no/such.toml") && absent.contains("No such file"), "{absent}");
}

#[test]
fn prompts_are_texts_or_files_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("coder.txt"), "Solve {{ prompt }}").unwrap();
    let path = dir.path().join("x.toml");
    let text = format!(
        "{HEAD}[prompts]\nsystem = \"Be brief.\"\ncoder = {{ file = \"coder.txt\" }}\n\
         [[method]]\nmethod = \"greedy\"\n"
    );
    std::fs::write(&path, &text).unwrap();
    let config = RunConfig::load(&path).unwrap();
    assert_eq!(config.prompts.system.as_deref(), Some("Be brief."));
    assert_eq!(config.prompts.coder.as_deref(), Some("Solve {{ prompt }}"));
    assert_eq!(config.prompts.conditional, None);
    std::fs::write(&path, text.replace("coder.txt", "gone.txt")).unwrap();
    let error = RunConfig::load(&path).unwrap_err().to_string();
    assert!(error.contains("gone.txt") && error.contains("prompts.coder"), "{error}");
}

#[test]
fn the_decisive_part_leaves_out_only_what_cannot_change_results() {
    let of = |run: &str, rest: &str| {
        let text =
            HEAD.replace("[model]", &format!("{run}\n[model]")) + rest + "[[method]]\nmethod = \"greedy\"\n";
        RunConfig::parse(&text, Path::new("x.toml")).unwrap().decisive()
    };
    let plain = of("", "");
    assert_eq!(plain, of("concurrency = 9\nout = \"elsewhere\"", "[sandbox]\nworkers = 3\n"));
    assert_ne!(plain, of("seed = 1", ""));
    assert_ne!(plain, of("max_seconds = 60", ""));
    assert_ne!(plain, of("", "[sandbox]\nwall_seconds = 1\n"));
    assert_ne!(plain, of("", "[prompts]\nsystem = \"x\"\n"));
}

#[test]
fn tasks_are_selected_in_the_datasets_order() {
    let select = |keys: &str| {
        let text = format!("{HEAD}{keys}\n[[method]]\nmethod = \"greedy\"\n");
        let config = RunConfig::parse(&text, Path::new("x.toml")).unwrap();
        select_tasks(&config.dataset, fake_run::tasks(6))
            .map(|tasks| tasks.into_iter().map(|task| task.id).collect::<Vec<_>>())
            .map_err(|error| error.to_string())
    };
    assert_eq!(select("").unwrap().len(), 6);
    assert_eq!(select("offset = 4").unwrap(), ["Fake/4", "Fake/5"]);
    assert_eq!(select("offset = 1\nlimit = 2").unwrap(), ["Fake/1", "Fake/2"]);
    assert_eq!(select("tasks = [\"Fake/5\", \"Fake/0\"]").unwrap(), ["Fake/0", "Fake/5"]);
    assert_eq!(select("tasks = [\"Fake/5\", \"Fake/0\"]\noffset = 1").unwrap(), ["Fake/5"]);
    let error = select("tasks = [\"Fake/9\"]").unwrap_err();
    assert!(error.contains("no task \"Fake/9\"") && error.contains("Fake/0"), "{error}");
    assert!(select("offset = 6").unwrap_err().contains("leave none of its 6 tasks"));
}

#[test]
fn any_list_is_a_dimension_of_the_grid() {
    let head = HEAD.replace("name = \"x\"", "name = \"x\"\nseed = [7, 8]");
    let text = head
        + "[prompts]\nstyle = [\"instruct-3-shot\", \"long-code\"]\n\
           [[method]]\nmethod = [\"sample\", \"greedy\"]\n\
           [[method]]\nmethod = \"eg-cfg\"\nprompt = \"default\"\nseed = 9\nrefresh_lines = [1, 4]\ngamma = [0, 3]\n";
    let config = RunConfig::parse(&text, Path::new("x.toml")).unwrap();
    let cells: Vec<(&str, &str, u64)> =
        config.cells().iter().map(|c| (c.name.as_str(), c.prompt.name(), config.seed_of(c))).collect();
    assert_eq!(
        cells,
        [
            ("sample prompt=instruct-3-shot seed=7", "instruct-3-shot", 7),
            ("sample prompt=instruct-3-shot seed=8", "instruct-3-shot", 8),
            ("sample prompt=long-code seed=7", "long-code", 7),
            ("sample prompt=long-code seed=8", "long-code", 8),
            ("greedy prompt=instruct-3-shot seed=7", "instruct-3-shot", 7),
            ("greedy prompt=instruct-3-shot seed=8", "instruct-3-shot", 8),
            ("greedy prompt=long-code seed=7", "long-code", 7),
            ("greedy prompt=long-code seed=8", "long-code", 8),
            ("eg-cfg γ=0 k=1", "default", 9),
            ("eg-cfg γ=0 k=4", "default", 9),
            ("eg-cfg γ=3 k=1", "default", 9),
            ("eg-cfg γ=3 k=4", "default", 9),
        ]
    );
    for cell in config.cells() {
        let json = serde_json::to_string(cell).unwrap();
        assert_eq!(serde_json::from_str::<vigor::run::Cell>(&json).unwrap(), *cell, "{json}");
    }
}

/// What a run of before there were styles, seeds of cells and lines a signal has in its files, it has still.
#[test]
fn a_cell_writes_down_only_what_its_run_does_not_say() {
    let config = parse("[[method]]\nmethod = \"eg-cfg\"\n").unwrap();
    let json = serde_json::to_value(config.decisive()).unwrap();
    let cell = &json["cells"][0];
    assert!(cell.get("prompt").is_none() && cell.get("seed").is_none(), "{cell}");
    assert!(cell["config"].get("refresh_lines").is_none(), "{cell}");
    assert_eq!((&json["run"]["seed"], json["run"].get("stop_when_solved")), (&0.into(), None));
    assert_eq!(json["prompts"], serde_json::json!({}));
    let cell: vigor::run::Cell = serde_json::from_value(cell.clone()).unwrap();
    assert_eq!(cell, config.cells()[0]);
}

#[test]
fn faults_of_grids_and_prompts_name_the_way_out() {
    let faults: [(&str, &[&str]); 11] = [
        ("[[method]]\nmethod = []\n", &["x.toml:8", "`method`", "empty list"]),
        ("[[method]]\nmethod = [\"greedy\", \"magic\"]\n", &["x.toml:8", "no method \"magic\""]),
        (
            "[[method]]\nmethod = [\"greedy\", \"sample\"]\nn = 3\n",
            &["x.toml:9", "\"greedy\" has no parameter `n`"],
        ),
        (
            "[[method]]\nmethod = \"greedy\"\nprompt = \"terse\"\n",
            &["x.toml:9", "`prompt`", "terse", "`default`, `instruct-3-shot`, `long-code`"],
        ),
        ("[[method]]\nmethod = \"greedy\"\nseed = -1\n", &["x.toml:9", "`seed`", "-1"]),
        ("[[method]]\nmethod = \"greedy\"\nseed = [0, 0]\n", &["x.toml:7", "repeats", "seed = 0"]),
        (
            "[[method]]\nmethod = \"eg-cfg\"\nrefresh_lines = 0\n",
            &["x.toml:9", "`refresh_lines`", "at least 1"],
        ),
        (
            "[prompts]\ncoder = \"{{ prompt }} {{ test }}\"\n[[method]]\nmethod = \"greedy\"\n",
            &["x.toml:8", "`prompts.coder`", "no `test`", "prompt, kind, entry_point, tests, examples"],
        ),
        (
            "[prompts]\nconditional = \"{{ coder }} {{ signals }}\"\n[[method]]\nmethod = \"greedy\"\n",
            &["x.toml:8", "`prompts.conditional`", "no `signals`", "signal, signal_lines"],
        ),
        (
            "[prompts]\ncoder = \"{% if %}\"\n[[method]]\nmethod = \"greedy\"\n",
            &["x.toml:8", "`prompts.coder`", "no template"],
        ),
        (
            "[prompts]\nstyle = \"long-code\"\nsystem = \"x\"\n[[method]]\nmethod = \"greedy\"\n",
            &["x.toml:9", "`prompts.system`", "\"default\", which no cell uses"],
        ),
    ];
    for (text, says) in faults {
        let error = parse(text).unwrap_err();
        for part in says {
            assert!(error.contains(part), "{text:?} should be told {part:?}, is told: {error}");
        }
    }
    let good =
        "[prompts]\ncoder = \"{% for i in range(3) %}{{ i }}{% endfor %}{% set x = prompt %}{{ x }}\"\n";
    parse(&format!("{good}[[method]]\nmethod = \"greedy\"\n")).unwrap();
}

#[test]
fn several_models_are_several_runs_each_in_a_folder_of_its_own() {
    let method = "[[method]]\nmethod = \"greedy\"\n";
    let of = |name: &str| {
        let text = HEAD.replace("\"m\"", name) + method;
        RunConfig::parse(&text, Path::new("x.toml")).map_err(|error| error.to_string())
    };
    let config = of("[\"qwen\", \"../models/my model.gguf\"]").unwrap();
    let each: Vec<(String, String)> = config
        .each_model()
        .iter()
        .map(|c| (c.model.name.clone(), c.out_dir().display().to_string()))
        .collect();
    let expected = [("qwen", "runs/x/qwen"), ("../models/my model.gguf", "runs/x/my_model.gguf")]
        .map(|(a, b)| (a.into(), b.into()));
    assert_eq!(each, expected);
    // Each is what a configuration with that model alone is.
    let alone = of("\"qwen\"").unwrap();
    assert_eq!(config.each_model()[0].decisive(), alone.decisive());
    assert_eq!(alone.each_model(), std::slice::from_ref(&alone));
    assert_eq!(alone.out_dir(), Path::new("runs/x"));
    let error = of("[\"a/m.gguf\", \"b/m.gguf\"]").unwrap_err();
    assert!(error.contains("x.toml:3") && error.contains("same folder, \"m.gguf\""), "{error}");
    assert!(of("[]").unwrap_err().contains("empty list"));
}

/// Every experiment that comes with the program can be read, and the large one has the size that its page says.
#[test]
fn the_configurations_that_are_ready_to_run_are_valid() {
    let mut cells = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir("configs").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "toml") {
            let config = RunConfig::load(&path).unwrap_or_else(|error| panic!("{error}"));
            cells.insert(path.file_stem().unwrap().to_string_lossy().into_owned(), config.cells().len());
        }
    }
    assert_eq!((cells["eg-cfg-faithful"], cells["eg-cfg-faithful-small"]), (146, 8));
}
