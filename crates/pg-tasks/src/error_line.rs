//! Errors as a user reads them.

use std::error::Error;

/// An error and its causes in one line: of each the first line, without what a cause repeats of its effect.
pub fn error_line(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        let message = message.lines().next().unwrap_or_default();
        if !text.contains(message) {
            text = if text.is_empty() { message.to_owned() } else { format!("{text}: {message}") };
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::error_line;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Link {
        message: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn what_was_said_is_not_repeated() {
        let link = |message, source: Option<Link>| Link { message, source: source.map(Box::new) };
        let cause = link("no such file\n(errno 2)", None);
        let chain = link("cannot train", Some(link("a.png: no such file", Some(cause))));
        assert_eq!(error_line(&chain), "cannot train: a.png: no such file");
    }
}
