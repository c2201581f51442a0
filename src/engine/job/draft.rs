//! Guessing the next tokens of a continuation, so that one forward pass can check several of them.
//!
//! A guess changes what is read ahead, never what is drawn.

use super::StopRule;

/// Tokens guessed ahead at most. Each costs a row of every stream in a pass that would otherwise read one.
pub(in crate::engine) const MAX_DRAFT: usize = 8;

/// The same where the text itself is all that the guess rests on: it is right less often.
const MAX_LOOKUP: usize = 4;

/// Guesses at most `room` tokens that follow `text`, of which the tokens from `start` on are drawn: as the drafts have
/// them that begin with the drawn ones, else as they followed where the text's last tokens stood in it before. Ends
/// before a token that `stop` would end the continuation with: nothing after it can be accepted, and the row before
/// it draws it.
pub(super) fn guess(
    drafts: &[Vec<u32>],
    text: &[u32],
    start: usize,
    room: usize,
    stop: &dyn StopRule,
) -> Vec<u32> {
    let drawn = &text[start..];
    let mut guess = majority(drafts, drawn, room.min(MAX_DRAFT));
    if guess.is_empty() {
        guess = seen_before(text, room.min(MAX_LOOKUP)).to_vec();
    }
    let whole = [drawn, &guess].concat();
    let ends = (drawn.len() + 1..=whole.len()).find(|&len| stop.check(&whole[..len]).is_some());
    guess.truncate(ends.map_or(guess.len(), |len| len - 1 - drawn.len()));
    guess
}

/// At each place the token that most drafts have of those that are as `drawn` and the guess up to there; that of
/// the first among equals.
fn majority(drafts: &[Vec<u32>], drawn: &[u32], room: usize) -> Vec<u32> {
    let rests = drafts.iter().filter_map(|draft| draft.strip_prefix(drawn));
    let mut alike: Vec<&[u32]> = rests.filter(|rest| !rest.is_empty()).collect();
    let mut guess = Vec::new();
    while guess.len() < room {
        let votes = |token: u32| alike.iter().filter(|rest| rest[0] == token).count();
        // Of equal maxima `max_by_key` takes the last, so the order is turned round.
        let Some(next) = alike.iter().rev().map(|rest| rest[0]).max_by_key(|&token| votes(token)) else {
            break;
        };
        guess.push(next);
        alike = alike.into_iter().filter(|rest| rest[0] == next).map(|rest| &rest[1..]).collect();
        alike.retain(|rest| !rest.is_empty());
    }
    guess
}

/// What followed where the last three tokens of a text, or else the last two, stood before: the latest such place.
fn seen_before(text: &[u32], room: usize) -> &[u32] {
    for n in [3, 2] {
        let Some(before) = text.len().checked_sub(n + 1) else { continue };
        let last = &text[text.len() - n..];
        if let Some(at) = (0..=before).rev().find(|&at| text[at..at + n] == *last) {
            let after = &text[at + n..];
            return &after[..room.min(after.len())];
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Finish;

    /// Ends with the token 9.
    struct Nine;

    impl StopRule for Nine {
        fn check(&self, generated: &[u32]) -> Option<Finish> {
            (generated.last() == Some(&9)).then_some(Finish::Lines)
        }
    }

    #[test]
    fn a_guess_follows_the_majority_then_the_first() {
        let drafts = [vec![1, 2, 3], vec![1, 4, 5, 6], vec![1, 4, 7], vec![2, 2, 9, 3]];
        let guess = |drawn: &[u32], room| guess(&drafts, drawn, 0, room, &Nine);
        assert_eq!(guess(&[], 8), [1, 4, 5, 6]);
        assert_eq!(guess(&[1], 2), [4, 5]);
        assert_eq!(guess(&[1, 2], 8), [3]);
        assert_eq!(guess(&[2], 8), [2], "what ends the line is drawn, not guessed");
        for (drawn, room) in [(&[3][..], 8), (&[1, 2, 3], 8), (&[], 0)] {
            assert!(guess(drawn, room).is_empty());
        }
    }

    #[test]
    fn without_a_draft_the_text_itself_is_one() {
        let guess = |text: &[u32], start| guess(&[vec![1, 5]], text, start, 8, &Nine);
        assert_eq!(guess(&[4, 5, 6, 7, 4, 5, 8, 4, 5], 8), [8, 4, 5], "the latest place");
        assert_eq!(guess(&[3, 4, 5, 6, 4, 5, 8, 3, 4, 5], 9), [6, 4, 5, 8], "the longest match");
        assert_eq!(guess(&[4, 5, 1, 9, 3, 4, 5], 5), [1], "up to what ends the line");
        assert_eq!(guess(&[4, 5, 8, 4, 5, 1], 5), [5], "a draft comes first");
        assert_eq!(guess(&[4, 5, 6, 5, 6, 4, 5], 6), [6, 5, 6, 4], "no more than it is worth");
        assert!(guess(&[4, 5], 1).is_empty());
    }
}
