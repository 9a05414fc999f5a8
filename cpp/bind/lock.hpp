// The interpreter lock (GIL). No other file acquires or releases the lock.
//
// Before Python 3.14, a daemon thread that requests the lock while the interpreter shuts down is
// terminated by pthread_exit, which unwinds its stack. Unwinding through C++ would abort the
// process, and would run destructors of Python objects without the lock. Every call that may take
// the lock is therefore made through or_stay(), and the stack must have no C++ object between
// or_stay() and Python's C code.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>
#include <utility>

namespace metaspan::bind {

namespace py = pybind11;

/// Blocks this thread until the process exits. Python 3.14 itself blocks such a thread in the same
/// way.
[[noreturn]] inline void stay() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// Returns body(), which must call Python's C API and nothing else. If Python terminates the thread
/// within the body, this function blocks the thread instead.
template <class Body>
auto or_stay(Body&& body) {
  try {
    return body();
  } catch (...) {  // C code throws no C++ exceptions, so this is pthread_exit
    stay();
  }
}

/// Calls a Python object with arguments and returns the result of the call. The caller must hold
/// the interpreter lock.
template <class... Arguments>
py::object call(const py::handle& function, Arguments&&... arguments) {
  const py::tuple all = py::make_tuple(std::forward<Arguments>(arguments)...);
  PyObject* result = or_stay([&] { return PyObject_CallObject(function.ptr(), all.ptr()); });
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

/// Holds the interpreter lock during its lifetime. Any thread may create a Locked object, even a
/// thread that Python does not know.
class Locked {
 public:
  Locked() : state_(or_stay(&take)) {}
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  static PyGILState_STATE take() {
    // After finalisation, a thread that Python does not know must not request the lock at all.
    if (PyGILState_GetThisThreadState() == nullptr && Py_IsInitialized() == 0) stay();
    return PyGILState_Ensure();
  }

  PyGILState_STATE state_;
};

/// Releases the interpreter lock during its lifetime. The thread must hold the lock.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() { take(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

  /// Runs the handlers of pending signals, and returns true if a handler raised an exception. Only
  /// the thread that released the lock may call this function.
  bool check_signals() {
    take();
    const bool raised = or_stay(&PyErr_CheckSignals) != 0;
    state_ = PyEval_SaveThread();
    return raised;
  }

 private:
  void take() {
    or_stay([this] { PyEval_RestoreThread(state_); });
  }

  PyThreadState* state_;
};

}  // namespace metaspan::bind
