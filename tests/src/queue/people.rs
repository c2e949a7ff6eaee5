//! Made-up officers and the procedures that wards really handle.

/// An officer at a counter.
#[derive(Debug, Clone, Copy)]
pub struct Officer {
    /// Staff code.
    pub code: &'static str,
    /// Name.
    pub name: &'static str,
}

/// Made-up names.
pub const OFFICERS: [Officer; 4] = [
    Officer {
        code: "nv017",
        name: "Trần Thị Hoa",
    },
    Officer {
        code: "nv021",
        name: "Nguyễn Văn Đức",
    },
    Officer {
        code: "nv034",
        name: "Lê Thị Minh Nguyệt",
    },
    Officer {
        code: "nv042",
        name: "Phạm Quốc Bảo",
    },
];

/// Procedures of a ward's one-stop unit.
pub const PROCEDURES: [&str; 10] = [
    "Đăng ký khai sinh",
    "Đăng ký kết hôn",
    "Đăng ký khai tử",
    "Chứng thực bản sao từ bản chính",
    "Chứng thực chữ ký",
    "Đăng ký thường trú",
    "Xác nhận tình trạng hôn nhân",
    "Đăng ký hộ kinh doanh",
    "Trợ cấp xã hội hàng tháng",
    "Cấp giấy chứng nhận quyền sử dụng đất",
];
