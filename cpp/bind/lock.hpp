// The interpreter's lock: the only file that releases it and takes it again.
//
// Before Python 3.14, a daemon thread that asks for the lock while the interpreter ends is ended by
// pthread_exit, which unwinds its stack. Unwinding through C++ would abort the process, and would
// run destructors of Python objects without the lock. So every call that may take the lock is made
// through or_stay(), with no object of C++ between it and Python's C code.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <thread>
#include <utility>

namespace metaspan::bind {

namespace py = pybind11;

/// Keeps this thread where it is until the process exits, as Python 3.14 does.
[[noreturn]] inline void stay() {
  for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
}

/// Returns body(), which calls Python's C interface and nothing else. A thread that Python ends
/// within it stays here instead.
template <class Body>
auto or_stay(Body&& body) {
  try {
    return body();
  } catch (...) {  // no exception of C++ leaves C code: this is pthread_exit
    stay();
  }
}

/// Calls a Python object. The lock must be held.
template <class... Arguments>
py::object call(const py::handle& function, Arguments&&... arguments) {
  const py::tuple all = py::make_tuple(std::forward<Arguments>(arguments)...);
  PyObject* result = or_stay([&] { return PyObject_CallObject(function.ptr(), all.ptr()); });
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

/// Holds the lock on any thread.
class Locked {
 public:
  Locked() : state_(or_stay(&take)) {}
  ~Locked() { PyGILState_Release(state_); }
  Locked(const Locked&) = delete;
  Locked& operator=(const Locked&) = delete;

 private:
  static PyGILState_STATE take() {
    // A thread that Python does not know could not even ask once the interpreter is gone.
    if (PyGILState_GetThisThreadState() == nullptr && Py_IsInitialized() == 0) stay();
    return PyGILState_Ensure();
  }

  PyGILState_STATE state_;
};

/// Releases the lock, which must be held, and takes it again at its end.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() { take(); }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

  /// Runs the handlers of signals that have come; true if one of them raised an exception. To be
  /// called by the thread that released the lock.
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
