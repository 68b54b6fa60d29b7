/** What `oarlock web build` writes, as types. */
export type Dtype = "float32" | "float64" | "int8" | "int16" | "int32" | "int64" | "uint8" | "bool";
export type TypedArray = Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint8Array;
/** A size; open ones have a name (equal names are equal sizes) or an expression of names, or null where only the data tell. */
export type Dim = number | string | null;
/** One input or output. */
export interface TensorInfo {
    name: string;
    dtype: Dtype;
    shape: Dim[];
}
/** A tensor: elements in row-major order. */
export interface Tensor {
    dtype: Dtype;
    shape: number[];
    data: TypedArray;
}
/** One function of the module, and what the compiler knows of it. */
export interface Kernel {
    export: string;
    name: string;
    schedule?: string;
    workload?: string;
    candidate?: string;
    /** What a build for tools says too: dtype and shape of each argument, and which of them are results. */
    tensors?: [dtype: string, shape: number[]][];
    results?: number[];
}
/** A call: the kernel's number, then (region, offset in bytes) of each argument.  Regions: weights, arena, inputs, outputs. */
export type Step = [kernel: number, places: number[]];
export interface Plan {
    version: number;
    arena: number;
    weights: number;
    kernels: Kernel[];
    steps: Step[];
}
/** A kernel on the GPU: `bytes` of each argument, and its dispatches: shader, arguments (−1 − n: work space n) and blocks. */
export interface GpuKernel extends Omit<Kernel, "export"> {
    bytes: number[];
    launches: [shader: number, arguments: number[], grid: [number, number, number]][];
    /** Bytes of each work space between its launches. */
    spaces?: number[];
}
/** A kernel's number, and what it is called on: (region, offset in bytes) of each argument.  Regions: weights, inputs, outputs, buffers. */
export interface GpuStep {
    kernel: number;
    places: number[];
}
/** What the variant webgpu has as its module. */
export interface GpuPlan {
    version: number;
    weights: number;
    buffers: number[];
    spaces: number[];
    /** WGSL with the entry point main; `access`: of each binding, r (read) or w (read and write). */
    shaders: {
        code: string;
        access: string;
    }[];
    kernels: GpuKernel[];
    steps: GpuStep[];
}
/** A file beside the manifest. */
export interface Part {
    file: string;
    bytes: number;
    sha256: string;
}
/** A module for engines that have what `needs` names; the first that fits is taken. */
export interface Variant {
    name: string;
    needs: Need[];
    /** Limits of the GPU that are needed beyond WebGPU's least. */
    limits?: Record<string, number>;
    module: Part;
    weights: Part[];
}
export type Need = "simd" | "relaxed-simd" | "threads" | "webgpu" | "shader-f16";
/** model.json, which `load` is given the address of (or of its folder). */
export interface Manifest {
    format: "oarlock web";
    version: 1;
    oarlock: string;
    inputs: TensorInfo[];
    outputs: TensorInfo[];
    variants: Variant[];
    protection?: Protection;
}
/** How files were encrypted: with which key, in which build, and SHA-256 of each variant's plan. */
export interface Protection {
    version: number;
    key: string;
    build: string;
    plans: Record<string, string>;
}
