//! A layered layout of a small directed graph: every edge leads one row down, except those that close a
//! cycle.
//!
//! The result depends on nothing but the input: coordinates are integers, and each tie is decided by the
//! position of a node in the input.

/// A node's width and height, and the room between nodes, pixels.
pub const NODE_WIDTH: i32 = 264;
/// See [`NODE_WIDTH`].
pub const NODE_HEIGHT: i32 = 46;
/// Between two rows: an edge and its label.
const ROW_GAP: i32 = 54;
const COLUMN_GAP: i32 = 28;
/// The width that an edge takes where it passes a row.
const PASS_WIDTH: i32 = 20;
const MARGIN: i32 = 8;
/// Between two edges that lead back up, at the right of all nodes.
const BACK_GAP: i32 = 20;
const SWEEPS: usize = 6;

/// Where everything is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The upper left corner of each node.
    pub nodes: Vec<(i32, i32)>,
    /// The way of each edge.
    pub edges: Vec<Route>,
    /// Of everything but the labels of edges that lead back.
    pub width: i32,
    /// Of everything.
    pub height: i32,
}

/// The way of an edge.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The points that it passes, its ends included.
    pub points: Vec<(i32, i32)>,
    /// It leads back up, on the right of all nodes.
    pub back: bool,
}

/// A node, or the place where an edge passes a row.
struct Item {
    row: usize,
    width: i32,
    center: i32,
}

/// Lays out `count` nodes. Edges name nodes by position.
pub fn layered(count: usize, edges: &[(usize, usize)]) -> Layout {
    let back = back_edges(count, edges);
    let rows = rows(count, edges, &back);
    let mut items: Vec<Item> =
        rows.iter().map(|row| Item { row: *row, width: NODE_WIDTH, center: 0 }).collect();
    let mut links: Vec<(usize, usize)> = Vec::new();
    let mut chains: Vec<Vec<usize>> = Vec::new();
    for (at, (from, to)) in edges.iter().enumerate() {
        let mut chain = vec![*from];
        if !back[at] {
            for row in rows[*from] + 1..rows[*to] {
                chain.push(items.len());
                items.push(Item { row, width: PASS_WIDTH, center: 0 });
            }
            chain.push(*to);
            links.extend(chain.windows(2).map(|pair| (pair[0], pair[1])));
        }
        chains.push(chain);
    }
    let mut order: Vec<Vec<usize>> = vec![Vec::new(); rows.iter().max().map_or(0, |last| last + 1)];
    for (at, item) in items.iter().enumerate() {
        order[item.row].push(at);
    }
    sort_rows(&mut order, items.len(), &links);
    place(&mut items, &order, &links);
    draw(&items, count, edges, &back, &chains)
}

/// The edges that close a cycle, as a depth-first walk meets them. It begins at nodes that no edge leads to.
fn back_edges(count: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    let mut back = vec![false; edges.len()];
    let mut state = vec![0_u8; count];
    let is_target = |node: usize| edges.iter().any(|(from, to)| *to == node && *from != node);
    let (targets, sources): (Vec<usize>, Vec<usize>) = (0..count).partition(|node| is_target(*node));
    for start in sources.into_iter().chain(targets) {
        if state[start] != 0 {
            continue;
        }
        state[start] = 1;
        let mut stack = vec![(start, 0)];
        while let Some((node, next)) = stack.pop() {
            let edge = (next..edges.len()).find(|at| edges[*at].0 == node);
            let Some(at) = edge else {
                state[node] = 2;
                continue;
            };
            stack.push((node, at + 1));
            match state[edges[at].1] {
                0 => {
                    state[edges[at].1] = 1;
                    stack.push((edges[at].1, 0));
                }
                1 => back[at] = true,
                _ => {}
            }
        }
    }
    back
}

/// The row of each node: the length of the longest way to it.
fn rows(count: usize, edges: &[(usize, usize)], back: &[bool]) -> Vec<usize> {
    let mut rows = vec![0; count];
    // Without the edges that close cycles no way is longer than the number of nodes.
    for _ in 0..count {
        let mut changed = false;
        for ((from, to), _) in edges.iter().zip(back).filter(|(_, back)| !**back) {
            if rows[*to] <= rows[*from] {
                rows[*to] = rows[*from] + 1;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    rows
}

/// Neighbours of each item in the row above and in the row below.
fn neighbors(count: usize, links: &[(usize, usize)]) -> [Vec<Vec<usize>>; 2] {
    let mut above = vec![Vec::new(); count];
    let mut below = vec![Vec::new(); count];
    for (from, to) in links {
        above[*to].push(*from);
        below[*from].push(*to);
    }
    [above, below]
}

/// Orders each row by the mean position of the neighbours, which leaves few crossings.
fn sort_rows(order: &mut [Vec<usize>], count: usize, links: &[(usize, usize)]) {
    let [above, below] = neighbors(count, links);
    let mut position = vec![0_usize; count];
    for row in order.iter() {
        for (at, item) in row.iter().enumerate() {
            position[*item] = at;
        }
    }
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        let next = if down { &above } else { &below };
        let last = order.len();
        for step in 0..last {
            let row = &mut order[if down { step } else { last - 1 - step }];
            row.sort_by_key(|item| {
                let near = &next[*item];
                let sum: usize = near.iter().map(|other| position[*other] * 1000).sum();
                (if near.is_empty() { position[*item] * 1000 } else { sum / near.len() }, *item)
            });
            for (at, item) in row.iter().enumerate() {
                position[*item] = at;
            }
        }
    }
}

/// Sets the centers: each item near the mean of its neighbours, none over another.
fn place(items: &mut [Item], order: &[Vec<usize>], links: &[(usize, usize)]) {
    let near = neighbors(items.len(), links);
    for sweep in 0..SWEEPS {
        let down = sweep % 2 == 0;
        for step in 0..order.len() {
            let row = &order[if down { step } else { order.len() - 1 - step }];
            let wanted: Vec<i32> = row
                .iter()
                .map(|item| {
                    let others = &near[usize::from(!down)][*item];
                    let sum: i32 = others.iter().map(|other| items[*other].center).sum();
                    if others.is_empty() { items[*item].center } else { sum / others.len() as i32 }
                })
                .collect();
            let mut free = i32::MIN / 2;
            let mut off = 0;
            for (item, wanted) in row.iter().zip(&wanted) {
                let half = items[*item].width / 2;
                items[*item].center = (*wanted).max(free + half);
                off += items[*item].center - wanted;
                free = items[*item].center + half + COLUMN_GAP;
            }
            let shift = off / row.len().max(1) as i32;
            for item in row {
                items[*item].center -= shift;
            }
        }
    }
    let left = items.iter().map(|item| item.center - item.width / 2).min().unwrap_or(0);
    for item in items {
        item.center += MARGIN - left;
    }
}

fn draw(
    items: &[Item],
    count: usize,
    edges: &[(usize, usize)],
    back: &[bool],
    chains: &[Vec<usize>],
) -> Layout {
    let top = |row: usize| MARGIN + row as i32 * (NODE_HEIGHT + ROW_GAP);
    let right = items.iter().map(|item| item.center + item.width / 2).max().unwrap_or(0);
    let mut backs = 0;
    let mut routes = Vec::new();
    for (at, (from, to)) in edges.iter().enumerate() {
        let (start, end) = (&items[*from], &items[*to]);
        let points = if back[at] {
            backs += 1;
            let lane = right + backs * BACK_GAP;
            let side = |item: &Item, down: i32| (item.center + NODE_WIDTH / 2, top(item.row) + down);
            let (out, back_in) = (side(start, NODE_HEIGHT * 2 / 3), side(end, NODE_HEIGHT / 3));
            vec![out, (lane, out.1), (lane, back_in.1), back_in]
        } else {
            let last = chains[at].len() - 1;
            let mut points = Vec::new();
            for (step, item) in chains[at].iter().map(|item| &items[*item]).enumerate() {
                if step > 0 {
                    points.push((item.center, top(item.row)));
                }
                if step < last {
                    points.push((item.center, top(item.row) + NODE_HEIGHT));
                }
            }
            points
        };
        routes.push(Route { points, back: back[at] });
    }
    let last = items.iter().map(|item| item.row).max().unwrap_or(0);
    Layout {
        nodes: items.iter().take(count).map(|item| (item.center - NODE_WIDTH / 2, top(item.row))).collect(),
        edges: routes,
        width: right + backs * BACK_GAP + MARGIN,
        height: top(last) + NODE_HEIGHT + MARGIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlaps(layout: &Layout) -> bool {
        let apart = |a: &(i32, i32), b: &(i32, i32)| {
            (a.0 - b.0).abs() >= NODE_WIDTH || (a.1 - b.1).abs() >= NODE_HEIGHT
        };
        let nodes = &layout.nodes;
        nodes.iter().enumerate().any(|(at, a)| nodes[at + 1..].iter().any(|b| !apart(a, b)))
    }

    #[test]
    fn a_chain_with_a_cycle_leads_down_and_one_edge_leads_back() {
        let layout = layered(4, &[(0, 1), (1, 2), (2, 3), (3, 1)]);
        let tops: Vec<i32> = layout.nodes.iter().map(|(_, y)| *y).collect();
        assert!(tops.windows(2).all(|pair| pair[0] < pair[1]), "{tops:?}");
        assert_eq!(
            layout.edges.iter().map(|edge| edge.back).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        assert!(!overlaps(&layout));
    }

    #[test]
    fn an_edge_over_several_rows_passes_beside_their_nodes() {
        let layout = layered(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]);
        let (x, y) = layout.edges[3].points[1];
        let (node_x, node_y) = layout.nodes[1];
        assert_eq!(y, node_y);
        assert!(x < node_x || x > node_x + NODE_WIDTH, "{layout:?}");
    }

    #[test]
    fn many_nodes_stay_apart_and_inside() {
        let edges: Vec<(usize, usize)> = (1..60).flat_map(|at| [(at, at / 3), (at % 7, at)]).collect();
        let layout = layered(60, &edges);
        assert!(!overlaps(&layout));
        for (x, y) in &layout.nodes {
            assert!(*x >= 0 && x + NODE_WIDTH <= layout.width && *y >= 0 && y + NODE_HEIGHT <= layout.height);
        }
        assert_eq!(layout, layered(60, &edges));
        assert_eq!(
            layered(0, &[]),
            Layout { width: MARGIN, height: 2 * MARGIN + NODE_HEIGHT, ..Layout::default() }
        );
    }
}
