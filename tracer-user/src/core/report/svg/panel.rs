//! A picture of a known size, for a page or for a file with others.

use crate::core::report::escape::html as plain;

/// A part of a picture.
pub struct Panel {
    /// What it shows, for those who do not see it.
    pub title: String,
    /// Pixels.
    pub width: i32,
    /// Pixels.
    pub height: i32,
    /// The elements.
    pub body: String,
}

impl Panel {
    /// As an element of a page. `id` is unique in the page.
    pub fn element(&self, id: &str) -> String {
        format!(
            "<svg role=\"img\" aria-labelledby=\"{id}\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\">\
             <title id=\"{id}\">{}</title>{}</svg>\n",
            plain(&self.title),
            self.body,
            w = self.width,
            h = self.height,
        )
    }
}
