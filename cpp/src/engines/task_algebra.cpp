// Instantiates the task algebra, (5)-(10), for every design that an engine uses. This file has all
// of these instantiations and no definition of a design's products. Which functions the compiler
// inlines decides where it fuses multiplications and additions, and thus the last bits. These bits
// must not depend on the engine for which the algebra is compiled.
#include "metaspan/algebra/task_algebra_impl.hpp"

#include "metaspan/algebra/attention_impl.hpp"
#include "metaspan/algebra/contributions_impl.hpp"
#include "metaspan/algebra/trials_design.hpp"
#include "metaspan/in_law/collapsed_design.hpp"
#include "metaspan/in_law/spectral_design.hpp"
#include "metaspan/sweeps/vector_design.hpp"

namespace metaspan {

template class TaskAlgebra<CollapsedDesign>;
template class TaskAlgebra<DenseDesign>;
template class TaskAlgebra<SpectralDesign>;
template class TaskAlgebra<VectorDesign<float>>;
template class TaskAlgebra<VectorDesign<double>>;
template class TaskAlgebra<SharedDesign<kNarrow>>;
template class TaskAlgebra<SharedDesign<kWide>>;
template class TaskAlgebra<TrialsDesign<kernels::kTrials, kChainsOf<SharedDesign<kNarrow>>>>;
template class TaskAlgebra<TrialsDesign<kernels::kTrials, kChainsOf<SharedDesign<kWide>>>>;

}  // namespace metaspan
