//! Pages of keys and values, counted by how many sequences use them.

/// Hands out page numbers. A page is free when no sequence uses it and the prefix cache does not keep it.
#[derive(Debug)]
pub struct PagePool {
    free: Vec<u32>,
    /// Sequences that use each page.
    users: Vec<u32>,
    /// Pages that the prefix cache keeps.
    kept: Vec<bool>,
    /// Pages with a user.
    in_use: usize,
}

impl PagePool {
    /// A pool of `pages` free pages.
    pub fn new(pages: usize) -> Self {
        // Lowest numbers first, so that a small job touches little memory.
        let free = (0..pages as u32).rev().collect();
        Self { free, users: vec![0; pages], kept: vec![false; pages], in_use: 0 }
    }

    /// Takes a free page for one sequence; `None` when there is none.
    pub fn allocate(&mut self) -> Option<u32> {
        let page = self.free.pop()?;
        self.users[page as usize] = 1;
        self.in_use += 1;
        Some(page)
    }

    /// One more sequence uses the page.
    pub fn retain(&mut self, page: u32) {
        let users = &mut self.users[page as usize];
        debug_assert!(*users > 0 || self.kept[page as usize], "page {page} is free");
        self.in_use += usize::from(*users == 0);
        *users += 1;
    }

    /// One sequence less uses the page.
    pub fn release(&mut self, page: u32) {
        let users = &mut self.users[page as usize];
        debug_assert!(*users > 0, "page {page} has no user");
        *users -= 1;
        if *users == 0 {
            self.in_use -= 1;
            if !self.kept[page as usize] {
                self.free.push(page);
            }
        }
    }

    /// The prefix cache keeps a page that is in use.
    pub fn keep(&mut self, page: u32) {
        debug_assert!(self.is_used(page) && !self.kept[page as usize], "page {page} is free or kept");
        self.kept[page as usize] = true;
    }

    /// The prefix cache keeps a page no longer.
    pub fn forget(&mut self, page: u32) {
        debug_assert!(self.kept[page as usize], "page {page} is not kept");
        self.kept[page as usize] = false;
        if !self.is_used(page) {
            self.free.push(page);
        }
    }

    /// Whether a sequence uses the page.
    pub fn is_used(&self, page: u32) -> bool {
        self.users[page as usize] > 0
    }

    /// Whether another sequence than the one that asks uses the page, or the prefix cache keeps it; such a page is never
    /// written.
    pub fn is_shared(&self, page: u32) -> bool {
        self.users[page as usize] > 1 || self.kept[page as usize]
    }

    /// Pages that sequences use, shared ones counted once.
    pub fn in_use(&self) -> usize {
        self.in_use
    }

    /// All pages.
    pub fn total(&self) -> usize {
        self.users.len()
    }
}
