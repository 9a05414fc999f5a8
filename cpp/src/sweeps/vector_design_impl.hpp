// What the two sources of VectorDesign share: vector_design.cpp, the products with X, and
// vector_features.cpp, the products with Z = X B.
#pragma once

#include "metaspan/base/parallel.hpp"
#include "metaspan/sweeps/vector_design.hpp"

namespace metaspan {

/// If there are at least kMany tasks for each thread, each thread takes whole tasks; and pieces of
/// columns likewise. With fewer, some threads would wait long for others.
constexpr Index kMany = 4;

/// The arguments of one pass over one set of one task: r = X u [- y] and, unless v is null, v = X^T
/// r.
template <class XScalar>
struct VectorDesign<XScalar>::Pass {
  const Samples<XScalar>* set;
  Index place;  // position of the task in the panel
  bool inner, with_y;
  const double* u;          // (d,)
  double* v;                // (d,)
  double* parts;            // (pieces, rows)
  double* r;                // (m,) out
  double* scaled;           // (m,) scratch
  int threads, block = -1;  // threads that share the pieces; block of rows in X^T r, -1 for all
  const XScalar* upcoming = nullptr;  // rows that the next pass reads, see upcoming_rows()
};

/// Some rows of a set: their address, and their radii if the rows are still to be multiplied by
/// radii.
template <class XScalar>
struct VectorDesign<XScalar>::Rows {
  const XScalar* X;  // (m, d)
  Index stride, m;
  const double* radii;  // (m,)  what they are yet to be multiplied with, or null
};

/// Calls body(task, number of threads that share the task) for the tasks of the panel. Each thread
/// takes whole tasks if the tasks can be divided evenly or if there are many tasks; otherwise all
/// threads share each task, one task after another. Both ways give the same bits. Threads share
/// each task if the sums of a task need an exchange.
template <class XScalar>
template <class Body>
void VectorDesign<XScalar>::each_task(Body&& body) {
  const bool whole_tasks = !round_.shard->is_shared() && (panel_.tasks % round_.threads == 0 ||
                                                          panel_.tasks >= kMany * round_.threads);
  parallel_for(whole_tasks ? round_.threads : 1, panel_.tasks, round_.cancel,
               [&](Index t, int) { body(t, whole_tasks ? 1 : round_.threads); });
  throw_if_requested(round_.cancel);
}

/// Calls body(first column, columns, piece) for the pieces of the columns of this process.
/// Threads may take the pieces in any order, and sum_parts() adds the sums of the pieces.
template <class XScalar>
template <class Body>
void VectorDesign<XScalar>::each_piece(int threads, Body&& body, bool backward) {
  const Shard::Pieces& pieces = round_.pieces;
  parallel_for(threads, pieces.count, round_.cancel, [&](Index item, int) {
    const Index piece = backward ? pieces.count - 1 - item : item;
    body(pieces.begin(piece), pieces.size(piece), piece);
  });
  throw_if_requested(round_.cancel);
}

}  // namespace metaspan
