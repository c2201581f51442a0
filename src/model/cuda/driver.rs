//! A GPU through the CUDA driver alone: memory, copies, launches, graphs. No CUDA library is linked, and the driver is
//! only looked for when somebody asks for a GPU; so one binary runs with and without.
//!
//! Everything of one [`Gpu`] goes through one stream, in the order of the calls.

use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
use cudarc::driver::{CudaContext, CudaGraph, CudaStream, DriverError, result};

use crate::model::ModelError;
use crate::model::device::GpuInfo;

// `MODULES`, the compiled kernels: for each file of `kernels/` machine code for some GPUs, and PTX for later ones.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// Plain data that means the same here and there.
///
/// # Safety
/// Any bytes are a valid value, and there is no padding.
pub unsafe trait Plain: Copy + 'static {}

// SAFETY: numbers.
unsafe impl Plain for u8 {}
// SAFETY: numbers.
unsafe impl Plain for u16 {}
// SAFETY: numbers.
unsafe impl Plain for u32 {}
// SAFETY: numbers.
unsafe impl Plain for u64 {}
// SAFETY: numbers.
unsafe impl Plain for f32 {}

/// Wraps what the driver answers.
fn check<T>(doing: &str, result: Result<T, DriverError>) -> Result<T, ModelError> {
    result.map_err(|error| {
        if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            ModelError::DeviceMemory(doing.to_owned())
        } else {
            let name = error
                .error_name()
                .map_or_else(|_| format!("{:?}", error.0), |n| n.to_string_lossy().into_owned());
            let text =
                error.error_string().map_or_else(|_| String::new(), |s| s.to_string_lossy().into_owned());
            ModelError::Device(format!("{doing}: {name} ({text})"))
        }
    })
}

/// The least version of CUDA that a driver must know: all that is called here is in it.
const LEAST_DRIVER: i32 = 12_000;

/// Whether the machine has a driver for NVIDIA's GPUs.
fn has_driver() -> bool {
    // SAFETY: it only tries to load the library.
    unsafe { sys::is_culib_present() }
}

/// The machine's GPUs; none where there is no driver.
pub fn devices() -> Result<Vec<GpuInfo>, ModelError> {
    if !has_driver() {
        return Ok(Vec::new());
    }
    let mut version = 0;
    // SAFETY: it writes a number.
    let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) }.result();
    check("asking for the driver's version", asked)?;
    if version < LEAST_DRIVER {
        return Err(ModelError::Device(format!(
            "the driver is for CUDA {}.{}; vigor needs one for CUDA {} or later",
            version / 1000,
            version % 1000 / 10,
            LEAST_DRIVER / 1000
        )));
    }
    match result::init() {
        Ok(()) => {}
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => return Ok(Vec::new()),
        Err(error) => return check("starting the driver", Err(error)),
    }
    let count = check("counting the GPUs", result::device::get_count())?;
    (0..count as usize).map(properties).collect()
}

fn properties(ordinal: usize) -> Result<GpuInfo, ModelError> {
    let doing = "asking a GPU what it is";
    let device = check(doing, result::device::get(ordinal as i32))?;
    let attribute = |a: Attribute| {
        // SAFETY: the device was given out by the driver.
        check(doing, unsafe { result::device::get_attribute(device, a) }).map(|v| v as usize)
    };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    Ok(GpuInfo {
        ordinal,
        name: check(doing, result::device::get_name(device))?,
        capability: (10 * major + minor) as u32,
        multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        // SAFETY: as above.
        memory_bytes: check(doing, unsafe { result::device::total_mem(device) })?,
    })
}

/// One GPU with our kernels, ready to work.
pub struct Gpu {
    properties: GpuInfo,
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    modules: Vec<sys::CUmodule>,
    early_start: bool,
    /// Times that the host waited for it.
    waits: AtomicU64,
}

// SAFETY: the driver's handles may be used from any thread; the context is bound to the thread before each use.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver locks what it must.
unsafe impl Sync for Gpu {}

/// A kernel of a [`Gpu`].
#[derive(Debug, Clone, Copy)]
pub struct Kernel(sys::CUfunction);

// SAFETY: a handle that may be used from any thread.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Kernel {
    /// Whether it waits for the kernel before it by itself: what is compiled for GPUs before Hopper does not, even where a
    /// later one runs it.
    fn waits(self) -> Result<bool, ModelError> {
        let version = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_PTX_VERSION;
        // SAFETY: the function was given out by the driver.
        let version = unsafe { result::function::get_function_attribute(self.0, version) };
        Ok(check("asking what a kernel was compiled for", version)? >= 90)
    }
}

/// How many blocks of how many threads.
#[derive(Debug, Clone, Copy)]
pub struct Grid {
    /// Blocks along x, y and z.
    pub blocks: [usize; 3],
    /// Threads a block.
    pub threads: usize,
}

impl Gpu {
    /// Opens a GPU and loads the kernels.
    ///
    /// # Errors
    /// There is no such GPU, it is too old, or the driver refuses.
    pub fn open(ordinal: usize) -> Result<Arc<Self>, ModelError> {
        let all = devices()?;
        let Some(properties) = all.get(ordinal).cloned() else {
            let reason = if !has_driver() {
                "no NVIDIA driver was found (libcuda.so.1); `nvidia-smi` should work where vigor is to use a GPU".into()
            } else {
                format!("there is no GPU {ordinal}: the driver shows {}", all.len())
            };
            return Err(ModelError::Device(reason));
        };
        if !properties.is_usable() {
            return Err(ModelError::Device(format!(
                "{} has compute capability {}.{}; the kernels need 8.0 (Ampere) or later",
                properties.name,
                properties.capability / 10,
                properties.capability % 10
            )));
        }
        let context = check("opening the GPU", CudaContext::new(ordinal))?;
        // SAFETY: everything goes through one stream, so nothing has to wait for events of another.
        unsafe { context.disable_event_tracking() };
        let stream = check("making a stream", context.new_stream())?;
        let mut modules = Vec::new();
        for (name, image) in MODULES {
            // SAFETY: the image is a whole fat binary, made by nvcc.
            let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
            modules.push(check(&format!("loading the kernels of {name}.cu"), module).map_err(|error| match error {
                ModelError::Device(reason) => ModelError::Device(format!(
                    "{reason}; if the driver is older than the compiler of this build, update it (`nvidia-smi` shows its version; CUDA 13 needs 580 or later), or build with an older CUDA toolkit"
                )),
                error => error,
            })?);
        }
        // A kernel may begin to load weights while the one before it ends, from Hopper on.
        let early_start = properties.capability >= 90 && std::env::var_os("VIGOR_NO_EARLY_START").is_none();
        let mut gpu =
            Self { properties, context, stream, modules, early_start: false, waits: AtomicU64::new(0) };
        gpu.early_start = early_start && gpu.kernel("embed")?.waits()?;
        Ok(Arc::new(gpu))
    }

    /// What it is.
    pub fn properties(&self) -> &GpuInfo {
        &self.properties
    }

    /// Bytes of memory that are free, and all.
    pub fn memory(&self) -> Result<(usize, usize), ModelError> {
        check("asking for the free memory", self.context.mem_get_info())
    }

    /// A kernel by its name.
    pub fn kernel(&self, name: &str) -> Result<Kernel, ModelError> {
        self.bind()?;
        for &module in &self.modules {
            let name = CString::new(name).expect("names of kernels hold no zero");
            // SAFETY: the module is loaded for as long as the GPU is open.
            if let Ok(function) = unsafe { result::module::get_function(module, name) } {
                return Ok(Kernel(function));
            }
        }
        Err(ModelError::Device(format!("there is no kernel {name}")))
    }

    fn bind(&self) -> Result<(), ModelError> {
        check("using the GPU", self.context.bind_to_thread())
    }

    /// Memory, not set to anything.
    pub fn alloc<T: Plain>(self: &Arc<Self>, len: usize) -> Result<Buffer<T>, ModelError> {
        self.bind()?;
        let bytes = (len * size_of::<T>()).max(1);
        // SAFETY: the buffer frees it, once.
        let address = check(&format!("asking for {bytes} bytes of device memory"), unsafe {
            result::malloc_sync(bytes)
        })?;
        Ok(Buffer { gpu: self.clone(), address, len, kind: PhantomData })
    }

    /// Memory set to zero.
    pub fn zeros<T: Plain>(self: &Arc<Self>, len: usize) -> Result<Buffer<T>, ModelError> {
        let buffer = self.alloc::<T>(len)?;
        // SAFETY: all of it lies in the buffer.
        check("clearing device memory", unsafe {
            result::memset_d8_async(buffer.address, 0, len * size_of::<T>(), self.stream.cu_stream())
        })?;
        Ok(buffer)
    }

    /// A copy of `data` on the GPU.
    pub fn buffer_of<T: Plain>(self: &Arc<Self>, data: &[T]) -> Result<Buffer<T>, ModelError> {
        let buffer = self.alloc(data.len())?;
        buffer.write(0, data)?;
        Ok(buffer)
    }

    /// Memory of the host that the GPU copies from and to without a stop.
    pub fn pinned<T: Plain>(self: &Arc<Self>, len: usize) -> Result<Pinned<T>, ModelError> {
        self.bind()?;
        let bytes = (len * size_of::<T>()).max(1);
        // SAFETY: the wrapper frees it, once. Zeros are a valid value of plain data.
        let ptr = unsafe {
            let ptr = check("asking for pinned memory", result::malloc_host(bytes, 0))?;
            ptr.cast::<u8>().write_bytes(0, bytes);
            ptr.cast::<T>()
        };
        Ok(Pinned { gpu: self.clone(), ptr, len })
    }

    /// Runs a kernel, after all that was asked before. `arguments` is the struct that the kernel takes.
    ///
    /// # Safety
    /// The kernel takes this struct, and every address in it is that of memory which lives until the kernel has run, and
    /// which is as long as the kernel assumes.
    pub unsafe fn launch<A: Copy>(
        &self,
        kernel: Kernel,
        grid: Grid,
        arguments: &A,
    ) -> Result<(), ModelError> {
        self.bind()?;
        let [x, y, z] = grid.blocks.map(|n| n as u32);
        // SAFETY: all zeros is a valid value of the attribute, whose meaning is set next.
        let mut attribute: sys::CUlaunchAttribute = unsafe { std::mem::zeroed() };
        attribute.id = sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
        attribute.value.programmaticStreamSerializationAllowed = 1;
        let config = sys::CUlaunchConfig {
            gridDimX: x,
            gridDimY: y,
            gridDimZ: z,
            blockDimX: grid.threads as u32,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: 0,
            hStream: self.stream.cu_stream(),
            attrs: &raw mut attribute,
            numAttrs: u32::from(self.early_start),
        };
        let mut parameters = [std::ptr::from_ref(arguments).cast_mut().cast::<c_void>()];
        // SAFETY: the caller's promise; the driver copies the arguments before it returns.
        let result = unsafe {
            sys::cuLaunchKernelEx(&config, kernel.0, parameters.as_mut_ptr(), std::ptr::null_mut())
        };
        check("starting a kernel", result.result())
    }

    /// Waits until everything is done.
    pub fn synchronize(&self) -> Result<(), ModelError> {
        check("waiting for the GPU", self.stream.synchronize())?;
        self.waits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Records what `work` asks for instead of running it, to be run as a whole.
    pub fn record(&self, work: impl FnOnce() -> Result<(), ModelError>) -> Result<Graph, ModelError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        check("beginning a graph", self.stream.begin_capture(mode))?;
        let worked = work();
        let graph = self.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        worked?;
        match check("making a graph", graph)? {
            Some(graph) => Ok(Graph(graph)),
            None => Err(ModelError::Device("a graph holds nothing".into())),
        }
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if self.bind().is_ok() {
            for &module in &self.modules {
                // SAFETY: loaded by `open`, and unloaded once.
                let _ = unsafe { result::module::unload(module) };
            }
        }
    }
}

/// Launches that run as a whole, with the arguments they were recorded with.
pub struct Graph(CudaGraph);

// SAFETY: used by one thread at a time, as it takes `&mut self`.
unsafe impl Send for Graph {}

impl Graph {
    /// Runs it, after all that was asked before.
    pub fn launch(&mut self) -> Result<(), ModelError> {
        check("starting a graph", self.0.launch())
    }
}

/// Memory of a GPU.
pub struct Buffer<T> {
    gpu: Arc<Gpu>,
    address: sys::CUdeviceptr,
    len: usize,
    kind: PhantomData<T>,
}

impl<T: Plain> Buffer<T> {
    /// Its address there.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The address of an element.
    pub fn at(&self, index: usize) -> u64 {
        assert!(index <= self.len, "element {index} of a buffer of {}", self.len);
        self.address + (index * size_of::<T>()) as u64
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `data` to the elements from `at` on, and waits until that is done.
    pub fn write(&self, at: usize, data: &[T]) -> Result<(), ModelError> {
        self.write_later(at, data)?;
        self.gpu.synchronize()
    }

    /// Copies `data`, which must stay as it is until the GPU has come so far.
    fn write_later(&self, at: usize, data: &[T]) -> Result<(), ModelError> {
        assert!(
            at + data.len() <= self.len,
            "{} elements from {at} on in a buffer of {}",
            data.len(),
            self.len
        );
        self.gpu.bind()?;
        // SAFETY: it fits, and the callers keep the data.
        check("copying to the GPU", unsafe {
            result::memcpy_htod_async(self.at(at), data, self.gpu.stream.cu_stream())
        })
    }

    /// Copies elements from `at` on to the host, and waits for them.
    pub fn read(&self, at: usize, out: &mut [T]) -> Result<(), ModelError> {
        self.read_later(at, out)?;
        self.gpu.synchronize()
    }

    /// Copies elements from `at` on to the host; they are there after [`Gpu::synchronize`].
    fn read_later(&self, at: usize, out: &mut [T]) -> Result<(), ModelError> {
        assert!(
            at + out.len() <= self.len,
            "{} elements from {at} on in a buffer of {}",
            out.len(),
            self.len
        );
        self.gpu.bind()?;
        // SAFETY: it fits.
        check("copying from the GPU", unsafe {
            result::memcpy_dtoh_async(out, self.at(at), self.gpu.stream.cu_stream())
        })
    }

    /// Copies the elements from `at` on to the first `len` of pinned memory; they are there after
    /// [`Gpu::synchronize`].
    pub fn read_pinned(&self, at: usize, out: &mut Pinned<T>, len: usize) -> Result<(), ModelError> {
        self.read_later(at, &mut out[..len])
    }

    /// Copies the first `len` elements of another buffer, maybe of another GPU, which is done with them.
    pub fn copy_from(&self, other: &Self, len: usize) -> Result<(), ModelError> {
        assert!(len <= self.len && len <= other.len);
        self.gpu.bind()?;
        let (to, from) = (self.gpu.context.cu_ctx(), other.gpu.context.cu_ctx());
        let (bytes, stream) = (len * size_of::<T>(), self.gpu.stream.cu_stream());
        // SAFETY: both are as long.
        check("copying between GPUs", unsafe {
            result::memcpy_peer_async(to, self.address, from, other.address, bytes, stream)
        })
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.gpu.bind().is_ok() {
            // SAFETY: given out by `alloc`, freed once; the driver waits for what uses it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// Memory of the host, locked in place.
pub struct Pinned<T> {
    gpu: Arc<Gpu>,
    ptr: *mut T,
    len: usize,
}

// SAFETY: it owns what it points to.
unsafe impl<T: Plain + Send> Send for Pinned<T> {}

impl<T: Plain> std::ops::Deref for Pinned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: allocated for `len` elements, and set.
        unsafe { std::slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl<T: Plain> std::ops::DerefMut for Pinned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.ptr, self.len) }
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        if self.gpu.bind().is_ok() {
            // SAFETY: given out by `pinned`, freed once.
            let _ = unsafe { result::free_host(self.ptr.cast()) };
        }
    }
}

/// Pinned memory through which small things go to the GPU while it works.
pub struct Staging<T> {
    gpu: Arc<Gpu>,
    /// Used in turns; with each, how often the host had waited for the GPU when it was last used.
    slots: Vec<(Pinned<T>, Option<u64>)>,
    next: usize,
}

impl<T: Plain> Staging<T> {
    /// Copies that may be under way at once, without a stop.
    const SLOTS: usize = 4;

    /// For copies of up to `len` elements at first.
    pub fn new(gpu: &Arc<Gpu>, len: usize) -> Result<Self, ModelError> {
        let slots =
            (0..Self::SLOTS).map(|_| Ok((gpu.pinned(len)?, None))).collect::<Result<_, ModelError>>()?;
        Ok(Self { gpu: gpu.clone(), slots, next: 0 })
    }

    /// Copies `data` to the beginning of a buffer, after all that was asked before.
    pub fn write(&mut self, to: &Buffer<T>, data: &[T]) -> Result<(), ModelError> {
        let (pinned, used) = &mut self.slots[self.next];
        self.next = (self.next + 1) % Self::SLOTS;
        if *used == Some(self.gpu.waits.load(Ordering::Relaxed)) {
            // Its last copy may not be done.
            self.gpu.synchronize()?;
        }
        if pinned.len < data.len() {
            *pinned = self.gpu.pinned(data.len().next_power_of_two())?;
        }
        pinned[..data.len()].copy_from_slice(data);
        *used = Some(self.gpu.waits.load(Ordering::Relaxed));
        to.write_later(0, &pinned[..data.len()])
    }
}
