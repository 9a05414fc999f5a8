// Tests that loops run on one thread while loops on several threads lose time, and on several
// threads again afterwards.
#include "check.hpp"
#include "metaspan/base/thread_gain.hpp"

namespace metaspan {
namespace {

using test::check;

/// Records a loop that began at `begin`, took `seconds` by the clock and used `work` seconds of
/// processor time. Returns the time at which the loop ended.
double loop(ThreadGain& gain, double begin, double seconds, double work) {
  gain.record(begin, begin + seconds, work);
  return begin + seconds;
}

void test_gaining_loops_stay_on_several_threads() {
  ThreadGain gain;
  double time = 100;
  for (int i = 0; i < 1000; ++i) time = loop(gain, time, 0.001, 0.0019);
  check(gain.allows(time), "loops that gain may use several threads");
}

void test_a_loss_ends_them_for_a_while() {
  ThreadGain gain;
  double time = loop(gain, 100, 0.001, 0.0019);
  time = loop(gain, time, 0.005, 0.002);
  check(!gain.allows(time + 0.019), "a loss ends them");
  check(gain.allows(time + 0.021), "for 20 ms");
}

void test_the_start_of_threads_is_no_loss() {
  ThreadGain gain;
  check(gain.allows(loop(gain, 100, 0.0003, 0.0001)), "a loop that starts the threads is no loss");
}

void test_repeated_losses_end_them_for_longer() {
  ThreadGain gain;
  double time = 100;
  for (const double alone : {0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 0.64}) {
    time = loop(gain, time, 0.005, 0.002);
    check(!gain.allows(time + 0.99 * alone), "a loss at once ends them for twice as long");
    check(gain.allows(time += 1.01 * alone), "but not for longer");
  }
  for (int i = 0; i < 1000; ++i) time = loop(gain, time, 0.001, 0.0019);
  time = loop(gain, time, 0.03, 0.002);
  check(!gain.allows(time + 0.019), "a loss after many gains ends them");
  check(gain.allows(time + 0.021), "for 20 ms again");
}

void test_old_gains_do_not_excuse_a_loss() {
  ThreadGain gain;
  loop(gain, 100, 1, 2);
  check(!gain.allows(loop(gain, 101.1, 0.003, 0.002)), "a gain of long ago does not excuse a loss");
}

void test_losses_are_summed() {
  ThreadGain gain;
  double time = 100;
  int loops = 0;
  for (; gain.allows(time) && loops < 1000; ++loops) time = loop(gain, time, 0.001, 0.0009);
  check(loops > 2 && loops < 20, "small losses end them once they add up");
}

void test_a_system_without_a_clock_keeps_its_threads() {
  ThreadGain gain;
  check(gain.allows(loop(gain, 100, 1, 0)), "a system without a clock keeps its threads");
}

}  // namespace
}  // namespace metaspan

int main() {
  using namespace metaspan;
  test_gaining_loops_stay_on_several_threads();
  test_a_loss_ends_them_for_a_while();
  test_the_start_of_threads_is_no_loss();
  test_repeated_losses_end_them_for_longer();
  test_old_gains_do_not_excuse_a_loss();
  test_losses_are_summed();
  test_a_system_without_a_clock_keeps_its_threads();
  return test::failures;
}
