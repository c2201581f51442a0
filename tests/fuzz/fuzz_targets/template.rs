//! Chat templates: the program, a zero byte, what is said.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vigor::model::template::{ChatTemplate, Message};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (source, said) = text.split_once('\0').unwrap_or((text, "hello"));
    let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") else { return };
    let messages = [Message::new("system", said), Message::new("user", said), Message::new("assistant", said)];
    for count in 1..=messages.len() {
        let _ = template.render(&messages[..count], count % 2 == 0);
    }
});
