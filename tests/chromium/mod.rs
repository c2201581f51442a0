//! A headless Chromium, driven over two pipes by the DevTools protocol: pages as their readers have them, with real keys.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The variable that names the browser, or asks with `required` that one be found.
const VARIABLE: &str = "VIGOR_TEST_CHROMIUM";

/// A browser with one page.
pub struct Chromium {
    child: Child,
    requests: ChildStdin,
    answers: Receiver<Value>,
    /// Of the page; absent until it is known.
    session: Option<String>,
    last: u64,
    /// What the page has done since it was opened and must not do, in words.
    complaints: Vec<String>,
    /// Address of the page that was asked for, and whether one has been loaded since.
    opened: String,
    loaded: bool,
    _profile: tempfile::TempDir,
}

/// The browser, as the variable says or found in the path. `None`, with a word about it, where there is none and none has to be.
fn find() -> Option<PathBuf> {
    let wish = std::env::var(VARIABLE).ok().filter(|wish| !wish.is_empty());
    if let Some(path) = wish.as_ref().filter(|wish| *wish != "required") {
        return Some(path.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|path| path.is_file());
    assert!(found.is_some() || wish.is_none(), "{VARIABLE} asks for a Chromium, and none is in the path");
    if found.is_none() {
        eprintln!("skipped: no Chromium; install one, or name it in {VARIABLE}");
    }
    found
}

impl Chromium {
    /// Starts the browser; `None` where there is none.
    pub fn start() -> Option<Self> {
        let program = find()?;
        let profile = tempfile::tempdir().expect("a folder");
        // The browser wants its pipes as descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1"])
            .arg(&program)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
                "--remote-debugging-pipe",
            ])
            .args(["--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh starts");
        let requests = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|length| length > 0) {
                message.pop();
                let value = serde_json::from_slice(&message).expect("messages are JSON");
                message.clear();
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let mut browser = Self {
            child,
            requests,
            answers,
            session: None,
            last: 0,
            complaints: Vec::new(),
            opened: String::new(),
            loaded: false,
            _profile: profile,
        };
        let targets = browser.call("Target.getTargets", &json!({}));
        let page =
            targets["targetInfos"].as_array().into_iter().flatten().find(|info| info["type"] == "page");
        let page = page.expect("the browser has a page")["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": page, "flatten": true }));
        browser.session = Some(attached["sessionId"].as_str().expect("a session").to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Gives a command and waits for its answer.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = session.as_str().into();
        }
        self.requests.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        loop {
            let answer = self.answers.recv_timeout(PATIENCE).unwrap_or_else(|e| panic!("{method}: {e}"));
            if answer["id"] == self.last {
                assert!(answer.get("error").is_none(), "{method}: {answer}");
                return answer["result"].clone();
            }
            self.note(&answer);
        }
    }

    /// Waits until the page that was asked for is loaded.
    fn wait_for_load(&mut self) {
        loop {
            while !std::mem::take(&mut self.loaded) {
                let message = self.answers.recv_timeout(PATIENCE);
                let message = message.unwrap_or_else(|e| panic!("{} is not loaded: {e}", self.opened));
                self.note(&message);
            }
            // The blank page that a browser begins with may be late.
            if self.evaluate("decodeURI(location.href)") == self.opened {
                return;
            }
        }
    }

    fn note(&mut self, message: &Value) {
        let params = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => {
                self.complaints.push(format!("script: {params}"))
            }
            "Log.entryAdded" => self.complaints.push(format!("log: {}", params["entry"])),
            "Page.javascriptDialogOpening" => self.complaints.push(format!("dialog: {params}")),
            "Network.requestWillBeSent" if params["request"]["url"] != self.opened => {
                self.complaints.push(format!("request: {}", params["request"]["url"]))
            }
            "Page.loadEventFired" => self.loaded = true,
            _ => {}
        }
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&mut self, page: &Path) {
        self.complaints.clear();
        self.loaded = false;
        self.opened = format!("file://{}", page.display());
        let answer = self.call("Page.navigate", &json!({ "url": self.opened }));
        assert!(answer.get("errorText").is_none(), "{}: {answer}", page.display());
        self.wait_for_load();
    }

    /// What the page that is open has done and must not do: errors, messages on the console, requests.
    pub fn complaints(&mut self) -> Vec<String> {
        // Whatever the page has caused so far arrives before the answer.
        self.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))");
        std::mem::take(&mut self.complaints)
    }

    /// The value of a JavaScript expression in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.call("Runtime.evaluate", &params);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// Presses and releases a key, by its name in DOM events.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            " " => 32,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            letter => letter.to_ascii_uppercase().as_bytes()[0].into(),
        };
        let mut params = json!({ "type": "keyDown", "key": key, "windowsVirtualKeyCode": code });
        if key == "Enter" {
            params["text"] = "\r".into();
        } else if key.chars().count() == 1 {
            params["text"] = key.into();
        }
        self.call("Input.dispatchKeyEvent", &params);
        self.call(
            "Input.dispatchKeyEvent",
            &json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }),
        );
    }

    /// Presses Enter on the link that has the focus, and waits for the page that it leads to.
    pub fn follow(&mut self) {
        let address = self.evaluate("document.activeElement.href");
        self.complaints.clear();
        self.loaded = false;
        self.opened = address.as_str().expect("a link has the focus").to_owned();
        self.press("Enter");
        self.wait_for_load();
    }

    /// Makes the window so wide and high, in CSS pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        self.call(
            "Emulation.setDeviceMetricsOverride",
            &json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// Asks pages for `light` or `dark` colours.
    pub fn prefer(&mut self, scheme: &str) {
        self.call(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
        );
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // Asked to, it ends its helpers, too, and leaves its profile alone.
        let _ = self.requests.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        for _ in 0..100 {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
